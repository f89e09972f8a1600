import t from "tap";
import { countsOf, failuresOf, skipsOf, slowestOf } from "../../scripts/tap-output.mjs";

const RUN = `TAP version 14
# Subtest: test/a.test.ts
    # Subtest: outer
        # Subtest: inner
            not ok 1 - one is two
              ---
              diff: |
                -2
                +1
              ...
            ok 2 - should be equal
            1..2
        not ok 1 - inner # time=26.332ms
          ---
          at:
            lineNumber: 3
          ...
        # Subtest: inner again
            ok 1 - fine
            not ok 2 - known # TODO later
            1..2
        ok 2 - inner again # time=1ms
        1..2
    not ok 1 - outer # time=39.552ms
    1..1
not ok 1 - test/a.test.ts # time=90500.5ms
  ---
  exitCode: 1
  ...

# Subtest: test/b.test.ts
    1..0 # no tests found
not ok 2 - test/b.test.ts # time=3s
  ---
  exitCode: 7
  ...
# Subtest: test/c.test.ts
    ok 1 - fine
    1..1
ok 3 - test/c.test.ts # time=4000ms

# { total: 5, pass: 3, fail: 2, todo: 1 }
# time=1061.038ms
`;

t.test("each failed assertion is told once, by the way to it, with its details", async (t) => {
  t.strictSame(failuresOf(RUN), [
    { path: "test/a.test.ts > outer > inner > one is two", details: ["diff: |", "  -2", "  +1"] },
    { path: "test/b.test.ts", details: ["exitCode: 7"] },
  ]);
});

t.test("skipped tests are told by why they were skipped", async (t) => {
  const run = `# Subtest: test/lab/a.test.ts
    ok 1 - power is cut # SKIP booting hosts needs root on Linux
    ok 2 - fine
ok 1 - test/lab/a.test.ts # time=3ms
    ok 1 - a disk is full # SKIP booting hosts needs root on Linux
    ok 2 - fish completes # SKIP no fish here
`;
  t.strictSame(skipsOf(run), [
    { reason: "booting hosts needs root on Linux", tests: ["power is cut", "a disk is full"] },
    { reason: "no fish here", tests: ["fish completes"] },
  ]);
  t.strictSame(skipsOf(RUN), []);
});

t.test("details end somewhere", async (t) => {
  const long = `not ok 1 - x\n  ---\n${"  line\n".repeat(1_000)}  ...\n`;
  const [failure] = failuresOf(long);
  t.equal(failure?.details.at(-1), "...");
  t.equal(failure?.details.length, 25);
});

t.test("what is cut off in the middle is read as far as it goes", async (t) => {
  t.strictSame(failuresOf("not ok 1 - x\n  ---\n  a: 1"), [{ path: "x", details: ["a: 1"] }]);
  t.strictSame(failuresOf(""), []);
});

t.test("counts are tap's own, and none where it wrote none", async (t) => {
  t.strictSame(countsOf(RUN), { pass: 3, fail: 2, skip: 1 });
  t.strictSame(countsOf("TAP version 14\n"), { pass: 0, fail: 0, skip: 0 });
});

t.test("the slowest files, whatever unit their time is in", async (t) => {
  t.strictSame(slowestOf(RUN, 2), [
    { file: "test/a.test.ts", ms: 90_500.5 },
    { file: "test/c.test.ts", ms: 4_000 },
  ]);
});
