// Runs in the page around the report: lays it out at each size, measures it, and leaves what it found as JSON.
"use strict";
const SIZES = [["phone", 390, 844], ["desktop", 1280, 900]];
// What must be there, in the order of the page; each is named by what finds it.
const LANDMARKS = [
  ".kicker", "h1", ".screen > section", "main > section > h2", "main > section > .note", "main > section > .none",
  "main > section > h3", "#find", "svg.chart", ".lane", ".heat .tile", "ol.decisions > li", "dl.pairs > dt", "dl.pairs > dd",
  ".scroll tr", "main > section > details > summary", "footer p",
].join(",");
const plain = (text) => text.replace(/\s+/g, " ").trim();
const name = (of) => {
  const classes = typeof of.className === "string" ? of.className : of.className.baseVal;
  return of.tagName.toLowerCase() + (of.id ? "#" + of.id : classes ? "." + classes.trim().split(/\s+/).join(".") : "");
};

function frame(width, height, scripts) {
  const one = document.createElement("iframe");
  // Its scripts run by its own security policy; ours look at it from outside.
  one.setAttribute("sandbox", scripts ? "allow-same-origin allow-scripts" : "allow-same-origin");
  one.style.cssText = `width: ${width}px; height: ${height}px; border: 0; box-sizing: content-box`;
  const loaded = new Promise((done) => one.addEventListener("load", done, { once: true }));
  one.srcdoc = JSON.parse(document.getElementById("page").textContent);
  document.body.append(one);
  return loaded.then(() => one);
}
// Some frames later. A browser without a screen draws one only where something has changed.
const settled = (page) => new Promise((done) => {
  const next = (left) => {
    page.style.border = `${left % 2}px solid transparent`;
    if (left === 0) done();
    else setTimeout(() => next(left - 1), 50);
  };
  next(6);
});

// Within a folded part, cut off, or not laid out at all.
function seen(of) {
  if (!of.checkVisibility({ contentVisibilityAuto: true, opacityProperty: true, visibilityProperty: true })) return false;
  const box = of.getBoundingClientRect();
  return box.width > 0 && box.height > 0 && of.closest(".unseen") === null;
}
// The part of a rectangle that those around it do not cut off.
function left(rect, from) {
  let { left: x0, right: x1, top: y0, bottom: y1 } = rect;
  for (let around = from; around !== null; around = around.parentElement) {
    const style = getComputedStyle(around);
    if (style.overflowX === "visible" && style.overflowY === "visible") continue;
    const box = around.getBoundingClientRect();
    x0 = Math.max(x0, box.left); x1 = Math.min(x1, box.right);
    y0 = Math.max(y0, box.top); y1 = Math.min(y1, box.bottom);
  }
  return x1 - x0 > 0.5 && y1 - y0 > 0.5 ? { x0, x1, y0, y1 } : null;
}
const scrolls = (of) => of.closest(".scroll") !== null;

function measure(page) {
  const inside = page.contentDocument;
  const wide = inside.documentElement.clientWidth;
  const faults = [];
  if (inside.documentElement.scrollWidth > wide) faults.push(`the page is ${inside.documentElement.scrollWidth} wide`);
  const texts = [];
  const walk = inside.createTreeWalker(inside.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode;
    const parent = node.parentElement;
    if (plain(node.data) === "" || parent.closest("script, style, option, desc, title") || !seen(parent)) continue;
    const style = getComputedStyle(parent);
    // As it is seen: a drawing may have shrunk it.
    const drawing = parent.ownerSVGElement;
    const size = parseFloat(style.fontSize) * (drawing ? drawing.getScreenCTM().a : 1);
    if (size < 10) faults.push(`${size.toFixed(1)} px is too small: ${plain(node.data)}`);
    const range = inside.createRange();
    range.selectNodeContents(node);
    for (const rect of range.getClientRects()) {
      const box = left(rect, parent);
      if (box === null) continue;
      if (!scrolls(parent) && (rect.left < -0.5 || rect.right > wide + 0.5)) faults.push(`beyond the edge: ${plain(node.data)}`);
      texts.push({ ...box, node, text: plain(node.data) });
    }
  }
  texts.sort((a, b) => a.y0 - b.y0);
  for (let i = 0; i < texts.length; i += 1) {
    for (let j = i + 1; j < texts.length && texts[j].y0 < texts[i].y1; j += 1) {
      const [a, b] = [texts[i], texts[j]];
      const [w, h] = [Math.min(a.x1, b.x1) - Math.max(a.x0, b.x0), Math.min(a.y1, b.y1) - Math.max(a.y0, b.y0)];
      // Lines of one paragraph may touch.
      if (a.node !== b.node && w > 2 && h > 4) faults.push(`one over the other: ${a.text} | ${b.text}`);
    }
  }
  for (const box of inside.querySelectorAll("div, section, figure, td")) {
    if (!scrolls(box) && seen(box) && box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).overflowX !== "visible") {
      faults.push(`scrolls out: ${name(box)}`);
    }
  }
  for (const svg of inside.querySelectorAll("svg")) {
    if (!seen(svg)) continue;
    const whole = svg.getBoundingClientRect();
    for (const text of svg.querySelectorAll("text")) {
      const box = text.getBoundingClientRect();
      if (box.left < whole.left - 1 || box.right > whole.right + 1) faults.push(`cut off by its drawing: ${plain(text.textContent)}`);
    }
  }
  for (const control of inside.querySelectorAll("input, select, summary")) {
    if (seen(control) && control.getBoundingClientRect().height < 24) faults.push(`hard to touch: ${name(control)}`);
  }
  const twelfth = (x) => Math.round((12 * x) / wide);
  const lines = Array.from(inside.querySelectorAll(LANDMARKS)).filter(seen).map((of) => {
    const box = of.getBoundingClientRect();
    const drawn = of.tagName === "svg" ? plain(of.querySelector("title").textContent) : plain(of.innerText);
    // A paragraph is as wide as its font makes it; numbers are the run's.
    const right = of.tagName === "P" ? "" : String(twelfth(box.right));
    return `${String(twelfth(box.left)).padStart(2)}-${right.padEnd(2)} ${name(of)}: ${drawn.replace(/\d+([.,:]\d+)*/g, "#")}`;
  });
  const bottom = (what) => {
    const of = inside.querySelector(what);
    return of === null ? null : Math.round(of.getBoundingClientRect().bottom + page.contentWindow.scrollY);
  };
  return { faults, lines, first_screen_ends: bottom(".screen"), texts: texts.length };
}

// What the search shows, for words and a kind.
async function search(page, words, area) {
  const inside = page.contentDocument;
  const form = inside.getElementById("find");
  form.elements.words.value = words;
  form.elements.area.value = area;
  form.elements.words.dispatchEvent(new page.contentWindow.Event("input", { bubbles: true }));
  await settled(page);
  return found(page);
}
function found(page) {
  const inside = page.contentDocument;
  // What is just unfolded is seen by a browser only with the next frame, which under load may not come in its own time.
  const listed = (item) => !item.hidden && item.closest("details:not([open])") === null;
  const items = Array.from(inside.querySelectorAll("ol.decisions > li"));
  return {
    all: items.length,
    shown: items.filter(listed).map((item) => `${item.querySelector("code").textContent} ${plain(item.querySelector(".said").textContent)}`),
    told: inside.querySelector("#find output").textContent,
    earlier_open: inside.querySelector(".earlier") === null ? null : inside.querySelector(".earlier").open,
    faults: measure(page).faults,
  };
}

async function main() {
  const wanted = JSON.parse(document.getElementById("wanted").textContent);
  const out = {};
  for (const [size, width, height] of SIZES) {
    const page = await frame(width, height, true);
    await settled(page);
    const one = { ...measure(page), focusable: [], searches: [], escaped: null };
    if (page.contentDocument.getElementById("find") !== null) {
      for (const control of page.contentDocument.querySelectorAll("#find input, #find select")) {
        control.focus();
        one.focusable.push(page.contentDocument.activeElement === control && control.labels.length === 1);
      }
      for (const [words, area] of wanted) one.searches.push(await search(page, words, area));
      const escape = new page.contentWindow.KeyboardEvent("keydown", { key: "Escape", bubbles: true, cancelable: true });
      page.contentDocument.getElementById("find-words").dispatchEvent(escape);
      await settled(page);
      one.escaped = found(page);
    }
    page.remove();
    const bare = await frame(width, height, false);
    const form = bare.contentDocument.getElementById("find");
    for (const folded of bare.contentDocument.querySelectorAll("details")) folded.open = true;
    one.bare = {
      form_seen: form !== null && seen(form),
      listed: Array.from(bare.contentDocument.querySelectorAll("ol.decisions > li")).filter(seen).length,
      faults: measure(bare).faults,
    };
    bare.remove();
    out[size] = one;
  }
  return out;
}
const leave = (text) => { document.getElementById("found").textContent = text; };
main().then((out) => leave(JSON.stringify(out)), (error) => leave(JSON.stringify({ error: String(error.stack) })));
