//! By which decisions a change goes. A change keeps those that it began with, whatever build takes it up.

/// The version of the decisions that a change begins with in this build. What an input leads to may differ only between versions: where
/// a build decides otherwise than the one before, it raises the number, and keeps to the earlier decisions in changes that began with
/// them. Journals of before there was a number have 1.
///
/// | version | since it |
/// | --- | --- |
/// | 1 | |
/// | 2 | people alone answer questions, take steps and lift what people have stopped; a program that asks for the way back is a reason to stop like any other, inside level and budgets; an order to heal is given up where a later run has nobody to carry it out; who is gone does not count among those whom a rollback would take back; what all share is looked at before each step of a lane, and measured by the middle of what was before; traffic has time to show that one class alone is at fault |
/// | 3 | how many targets are on their way at once goes by the belief in the next attempt; what all share must suffer for a while before somebody is asked |
/// | 4 | evidence that a person went on over begins anew, and stops again once twice as many targets are reached, or half of those that were left; evidence that fresh instances alone showed holds nothing any more once there are none left; where no class is set aside, it is said why; questions of different kinds are open beside one another, and an answer without a number is to the one that weighs most, while `resume` without one answers nothing that a rule asks; a yes to what a rule asks satisfies a rule that wants a person or cannot tell, and lifts no denial, no window and no limit, and what no yes lifts is not asked about; what holds the way back is kept apart from what holds the way forward, is asked about for classes that are set aside too, and is looked at again by time; a person's word for the way back counts for what was to go back then; a lane that is left out waits for no rule; an abort owes those whose attempts did not end, and a person's way back takes its place; a heal that was not carried out gives back what it took itself of the day's budget; a domain that cannot be reached keeps nothing elsewhere: its targets wait apart, and come in again by the evidence of their own classes; a check that blocks again within half an hour is the same block only after the end that was counted |
/// | 5 | an abort that comes after a long silence waits for what is under way from when it is heard; where the level leaves the way back to people and a class alone is at fault, they are asked about that class |
pub const DECISIONS: u16 = 5;
