process.env.TZ = "UTC";

import { bytes, moment, span } from "@belay/controller/cli/render/measure";
import { COLOURED, PLAIN, styleFor } from "@belay/controller/cli/render/style";
import { fit, names, safeLine, table, widthOf, wrap } from "@belay/controller/cli/render/text";
import t from "tap";

t.test("what agents and people wrote can't take a terminal over", async (t) => {
  t.equal(safeLine("a\x1b[2Jb"), "a [2Jb", "an escape loses its power");
  t.equal(safeLine("a\x1b]0;title\x07b"), "a ]0;title b");
  t.equal(safeLine("two\r\nlines\tand\x9bmore"), "two lines and more");
  t.equal(safeLine(COLOURED.bad("red")), COLOURED.bad("red"), "our own colours stay");
});

t.test("a line is cut to the window, colours not counted", async (t) => {
  t.equal(fit("abcdef", 6), "abcdef");
  t.equal(fit("abcdef", 5), "abcd…");
  t.equal(widthOf(fit(COLOURED.good("abcdef"), 5)), 5);
  t.equal(fit(COLOURED.good("abcdef"), 5), "\x1b[32mabcd…\x1b[0m", "and what was coloured ends");
});

t.test("columns are as wide as their widest cell, without blanks at the end", async (t) => {
  t.same(
    table([
      ["a", "bbb", ""],
      ["aaa", COLOURED.bad("b"), "c"],
    ]),
    ["a    bbb", `aaa  ${COLOURED.bad("b")}    c`],
  );
});

t.test("words are broken between, never inside", async (t) => {
  t.same(wrap("one two three", 7), ["one two", "three"]);
  t.same(wrap("averylongword x", 5), ["averylongword", "x"]);
});

t.test("lists name a few", async (t) => {
  t.equal(names(["a", "b"], 3), "a, b");
  t.equal(names(["a", "b", "c", "d"], 2, 5), "a, b and 7 more");
});

t.test("spans have two units at most", async (t) => {
  const second = 1000;
  t.same(
    [0, 59, 60, 187, 3600, 7500, 90_000, 273_600].map((seconds) => span(seconds * second)),
    ["0s", "59s", "1m00s", "3m07s", "1h00m", "2h05m", "1d01h", "3d04h"],
  );
  t.equal(span(-5), "0s", "clocks differ; nothing takes less than no time");
  t.equal(span(59_600), "1m00s", "rounded before it is cut up");
});

t.test("a moment has its date where that is not today's", async (t) => {
  const now = Date.UTC(2026, 10, 23, 20, 15, 3);
  t.equal(moment(now, now), "20:15:03");
  t.equal(moment(now - 86_400_000, now), "2026-11-22 20:15:03");
});

t.test("bytes", async (t) => {
  t.same([0, 1023, 1024, 50_008_383, 3e12].map(bytes), ["0 B", "1023 B", "1.0 KiB", "47.7 MiB", "2.7 TiB"]);
});

t.test("colours only on a terminal that shows them, and where nobody said no", async (t) => {
  const tty = { isTty: true };
  t.equal(styleFor(tty, {}), COLOURED);
  t.equal(styleFor(tty, { NO_COLOR: "" }), COLOURED);
  t.equal(styleFor(tty, { NO_COLOR: "1" }), PLAIN);
  t.equal(styleFor(tty, { TERM: "dumb" }), PLAIN);
  t.equal(styleFor({ isTty: false }, {}), PLAIN);
});
