import { deepStrictEqual } from "node:assert/strict";
import { newestGoodRelease, withAdvisories } from "@belay/controller/releases/advisory";
import type { Catalogue } from "@belay/controller/releases/catalogue";
import { parseCatalogue, serializeCatalogue } from "@belay/controller/releases/parse";
import { BelayError } from "@belay/shared";
import fc from "fast-check";
import t from "tap";

const SHA = "a".repeat(64);
const FILE = "teleport-v6.2.31-linux-amd64-bin.tar.gz";

t.test("reads a catalogue, with defaults for the platform", async (t) => {
  const catalogue = parseCatalogue(
    `releases:
  - version: v6.2.31
    blocked: "breaks access for older agents"
    artifacts:
      - { file: ${FILE}, size: 50008383, sha256: ${SHA} }
      - { os: linux, arch: arm64, edition: ent, fips: true, file: b, size: 1, sha256: ${SHA} }
  - version: 7.0.0-rc.1
`,
    "releases.yaml",
  );
  t.same(catalogue, {
    releases: [
      {
        version: "6.2.31",
        blocked: "breaks access for older agents",
        artifacts: [
          { os: "linux", arch: "amd64", edition: "oss", fips: false, file: FILE, size: 50008383, sha256: SHA },
          { os: "linux", arch: "arm64", edition: "ent", fips: true, file: "b", size: 1, sha256: SHA },
        ],
      },
      { version: "7.0.0-rc.1", artifacts: [] },
    ],
  });
});

t.test("what is written reads back the same", async (t) => {
  const release = fc.record(
    {
      version: fc.tuple(fc.nat(30), fc.nat(30), fc.nat(30)).map((parts) => parts.join(".")),
      blocked: fc.string({ minLength: 1 }),
      suspect: fc.string({ minLength: 1 }),
      artifacts: fc.array(
        fc.record(
          {
            os: fc.constant("linux"),
            arch: fc.constantFrom("amd64", "arm64"),
            edition: fc.constantFrom("oss" as const, "ent" as const, "community" as const),
            fips: fc.boolean(),
            file: fc.string({ minLength: 1 }),
            size: fc.integer({ min: 1 }),
            sha256: fc.stringMatching(/^[0-9a-f]{64}$/),
          },
          { noNullPrototype: true },
        ),
        { maxLength: 3 },
      ),
    },
    { requiredKeys: ["version", "artifacts"], noNullPrototype: true },
  );
  const catalogues = fc
    .uniqueArray(release, { selector: (one) => one.version, maxLength: 5 })
    .map((releases): Catalogue => ({ releases }) as Catalogue);
  fc.assert(
    fc.property(catalogues, (catalogue) => {
      deepStrictEqual(parseCatalogue(serializeCatalogue(catalogue), "r.yaml"), catalogue);
    }),
    { numRuns: 200 },
  );
  t.pass("200 catalogues");
});

const MISTAKES: readonly [what: string, text: string, message: RegExp][] = [
  ["an empty file", "", /the file is empty/],
  [
    "a version that is none",
    "releases:\n  - version: six",
    /r\.yaml:2:14: releases\[0\]\.version: "six" is no version/,
  ],
  ["a version twice", "releases:\n  - version: 6.2.31\n  - version: v6.2.31", /r\.yaml:3:14: .*listed already/],
  [
    "half a digest",
    `releases:\n  - version: 6.0.0\n    artifacts: [{ file: a, size: 1, sha256: abc }]`,
    /artifacts\[0\]\.sha256: must be a SHA-256/,
  ],
  [
    "no size",
    `releases:\n  - version: 6.0.0\n    artifacts: [{ file: a, sha256: ${SHA} }]`,
    /artifacts\[0\]\.size: is missing/,
  ],
  [
    "an unknown edition",
    `releases:\n  - version: 6.0.0\n    artifacts: [{ file: a, size: 1, sha256: ${SHA}, edition: pro }]`,
    /must be oss, ent, community/,
  ],
  ["an unknown field", "releases:\n  - verison: 6.0.0", /did you mean "version"/],
];

for (const [what, text, message] of MISTAKES) {
  t.test(`refuses ${what}`, async (t) => {
    const error = t.throws(() => parseCatalogue(text, "r.yaml")) as BelayError;
    t.ok(error instanceof BelayError);
    t.equal(error.code, "releases-invalid");
    t.match(error.message, message);
  });
}

t.test("the newest good release is stable, unblocked and unsuspected", async (t) => {
  const catalogue: Catalogue = {
    releases: ["6.2.4", "6.2.31", "6.3.0", "6.4.0", "6.5.0-rc.1", "7.0.0"].map((version) => ({
      version,
      artifacts: [],
    })),
  };
  const advised = withAdvisories(catalogue, [
    { version: "6.4.0", kind: "blocked", reason: "bad" },
    { version: "6.3.0", kind: "suspect", reason: "rolled back" },
    { version: "5.0.0", kind: "blocked", reason: "known only by its advisory" },
  ]);
  t.equal(newestGoodRelease(advised, 6)?.version, "6.2.31");
  t.equal(newestGoodRelease(advised, 5), null);
  t.equal(newestGoodRelease(advised, 8), null);
  t.equal(advised.releases.find((release) => release.version === "5.0.0")?.blocked, "known only by its advisory");
});
