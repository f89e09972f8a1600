import { formatDuration, parseDuration } from "@belay/controller/inventory/duration";
import fc from "fast-check";
import t from "tap";

t.test("durations as people write them", async (t) => {
  t.same(["500ms", "10s", "5m", "24h", "7d"].map(parseDuration), [500, 10_000, 300_000, 86_400_000, 604_800_000]);
  for (const text of ["", "10", "s", "-1s", "1.5h", "1w", "10 s x"]) t.equal(parseDuration(text), null, text);
});

t.test("what is formatted reads back the same", async (t) => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 999_999_999 }), (ms) => parseDuration(formatDuration(ms)) === ms));
  t.equal(formatDuration(90_000), "90s");
});
