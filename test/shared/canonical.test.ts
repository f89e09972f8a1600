import { canonicalJson, digestOf } from "@belay/shared";
import fc from "fast-check";
import t from "tap";

t.test("keys are sorted by UTF-16 code units, as RFC 8785 asks", async (t) => {
  // The order of section 3.2.3: U+20AC sorts before U+D83D, although U+1F600 is the larger code point.
  const value = { "\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\u{1f600}": 5, "\u0080": 6, "\u00f6": 7 };
  t.equal(canonicalJson(value), '{"\\r":2,"1":4,"\u0080":6,"\u00f6":7,"\u20ac":1,"\u{1f600}":5,"\ufb33":3}');
});

t.test("numbers take their shortest form", async (t) => {
  t.equal(canonicalJson([1e21, 1e-7, 0.1, -0, 4.5, 2e-3, 1 / 3]), "[1e+21,1e-7,0.1,0,4.5,0.002,0.3333333333333333]");
});

t.test("what JSON can't say exactly is refused, because a digest of something else would be approved", async (t) => {
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, 10n, () => 1, Symbol("x"), "\ud800", { "\udc00": 1 }]) {
    t.throws(() => canonicalJson(value), TypeError);
  }
});

t.test("a digest does not depend on the order of keys, and does on everything else", async () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: "grapheme" }), fc.jsonValue()), (value) => {
      const shuffled = Object.fromEntries(Object.entries(value).reverse());
      return digestOf(value) === digestOf(shuffled) && digestOf(value) !== digestOf({ ...value, "one more": 1 });
    }),
  );
});

t.test("canonical JSON is JSON of the same value", async () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const round: unknown = JSON.parse(canonicalJson(value));
      return JSON.stringify(round) === JSON.stringify(JSON.parse(canonicalJson(round)));
    }),
  );
});
