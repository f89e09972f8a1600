process.env.TZ = "UTC";

import { PLAIN } from "@belay/controller/cli/render/style";
import { widthOf } from "@belay/controller/cli/render/text";
import { Screen, screenLines } from "@belay/controller/cli/watch/screen";
import t from "tap";
import { sink } from "./belay.js";
import { failureGate, gatedRun, RUN, START, stage, workingRun } from "./samples.js";

const page = { now: START + 90_000, columns: 100, rows: 40, style: PLAIN };
const far = Array.from({ length: 400 }, (_, index) => stage(`hop-1.c${index}.node`));

t.test("a run fits the screen whatever its size, and keeps what matters", async (t) => {
  const views = [
    workingRun({ stages: [...workingRun().stages.slice(0, 4), ...far] }),
    gatedRun({ stages: [...gatedRun().stages.slice(0, 3), ...far] }),
    gatedRun({ gate: failureGate(), stages: [...far, ...gatedRun().stages.slice(2)] }),
  ];
  for (const rows of [12, 23, 40, 60]) {
    for (const view of views) {
      const lines = screenLines(view, { ...page, rows }, "belayd is away");
      t.ok(lines.length <= rows, `${lines.length} lines for ${rows} rows`);
      t.match(lines[0], `run ${RUN} to 7.1.0`);
      t.match(lines.at(-1), "belayd is away; trying again. The run goes on without us.");
    }
  }
});

t.test("on a small screen the place where it is and the commands that answer a gate stay", async (t) => {
  const lines = screenLines(
    gatedRun({ stages: [...gatedRun().stages.slice(0, 3), ...far] }),
    { ...page, rows: 18 },
    null,
  );
  t.same(lines.slice(2, 7), [
    "  … 2 lines above",
    "  ✓ main  backup  1 host                    3s",
    "  ◆ main  auth    gate open, 1 host behind it",
    "  · c0    node    2 hosts",
    "  … 399 lines below",
  ]);
  t.same(lines.slice(-3), [
    "… 8 lines more: belay gate show, belay run show",
    `approve     belay gate approve ${RUN} hop-1.main.auth --reason "..."`,
    `reject      belay gate reject ${RUN} hop-1.main.auth --reason "..."`,
  ]);
});

const ESC = "\u001b";
const PIECES = new RegExp(`${ESC}\\[\\??(\\d*)([A-Za-z])|\\r|\\n|[^${ESC}\\r\\n]+`, "g");

/** What a terminal would show: just enough of one to see that a drawing begins and ends where it should. */
function terminal(text: string): string[] {
  const lines: string[] = [""];
  let row = 0;
  let atStart = true;
  for (const [piece, count, command] of text.matchAll(PIECES)) {
    if (command === "A") row -= Number(count);
    else if (command === "J") {
      lines.length = row + 1;
      if (atStart) lines[row] = "";
    } else if (piece === "\r") atStart = true;
    else if (piece === "\n") {
      row += 1;
      lines[row] ??= "";
    } else if (command === undefined) {
      lines[row] = piece;
      atStart = false;
    }
  }
  return lines;
}

t.test("each drawing takes the place of the one before", async (t) => {
  const out = sink(true);
  const screen = new Screen(out);
  screen.draw(["one", "two", "three"]);
  screen.draw(["uno", "dos"]);
  t.same(terminal(out.text), ["uno", "dos"]);
  screen.draw(["ONE", "TWO", "THREE", "FOUR"]);
  t.same(terminal(out.text), ["ONE", "TWO", "THREE", "FOUR"]);
  const before = out.text.length;
  screen.draw(["ONE", "TWO", "THREE", "FOUR"]);
  t.equal(out.text.length, before, "what is there already is not written again");
  screen.erase();
  t.same(terminal(out.text), [""]);
});

t.test("a line never runs over the edge, and the cursor comes back", async (t) => {
  const out = sink(true, 20);
  const screen = new Screen(out);
  screen.draw(["x".repeat(50), "a\nb\x1b[2J"]);
  screen.leave();
  screen.leave();
  const [first = "", second = ""] = terminal(out.text);
  t.equal(widthOf(first), 20);
  t.equal(second, "a b [2J");
  t.ok(out.text.endsWith("\x1b[?25h"), "shown again");
  t.equal(out.text.split("\x1b[?25h").length, 2, "once");
});
