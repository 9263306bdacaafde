// Shows of the decisions those that have all words that were typed. Without it all are listed.
"use strict";
(() => {
  const form = document.getElementById("find");
  const earlier = document.querySelector("#decisions .earlier");
  const told = form.querySelector("output");
  // Texts are taken at the first search: who only reads does not wait for two thousand of them.
  let known = null;
  // Whether what is folded was open before the search, to leave it so after.
  let wasOpen = null;
  let due = false;
  const plain = (text) => text.replace(/\s+/g, " ").toLowerCase();
  const list = () => Array.from(document.querySelectorAll("ol.decisions > li"), (item) => {
    const parts = item.querySelectorAll("time, .said, code, .otherwise > span");
    return {
      item,
      folded: earlier !== null && earlier.contains(item),
      area: item.querySelector("code").textContent.split(".")[0],
      text: plain(Array.from(parts, (part) => part.textContent).join(" ")),
    };
  });
  const show = () => {
    due = false;
    const words = plain(form.elements.words.value).split(" ").filter((word) => word !== "");
    const area = form.elements.area.value;
    const searching = words.length > 0 || area !== "";
    if (!searching && known === null) return;
    known ??= list();
    let found = 0;
    let within = 0;
    for (const one of known) {
      const fits = (area === "" || one.area === area) && words.every((word) => one.text.includes(word));
      if (one.item.hidden === fits) one.item.hidden = !fits;
      if (fits) found += 1;
      if (fits && one.folded) within += 1;
    }
    if (earlier !== null) {
      if (searching && wasOpen === null) wasOpen = earlier.open;
      if (searching) earlier.open = true;
      else if (wasOpen !== null) { earlier.open = wasOpen; wasOpen = null; }
      earlier.hidden = searching && within === 0;
    }
    told.textContent = searching ? `${found.toLocaleString("en")} of ${known.length.toLocaleString("en")}` : "";
  };
  // Once, however much somebody has typed until there is time for it. Not with the next frame: a page that nobody sees draws none.
  const soon = () => { if (!due) { due = true; setTimeout(show, 0); } };
  form.addEventListener("input", soon);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    form.reset();
    soon();
  });
  // A page that is rewritten is loaded again, and the browser brings back what stood in the field.
  addEventListener("pageshow", soon);
  form.hidden = false;
})();
