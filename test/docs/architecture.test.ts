import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import t from "tap";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const text = readFileSync(`${ROOT}ARCHITECTURE.md`, "utf8");
const rows = [...text.matchAll(/^\| (I\d+) [^|]*\| ([^|]+) \| ([^|]+) \|$/gm)];

t.test("every invariant has a row, and every file named there cites it", async (t) => {
  t.same(
    rows.map(([, invariant]) => invariant),
    Array.from({ length: 14 }, (_, index) => `I${index + 1}`),
  );
  for (const [, invariant = "", code = "", tests = ""] of rows) {
    for (const file of [...code.split(", ").map(sourceOf), ...tests.split(", ")]) {
      const cited = new RegExp(`\\b${invariant}\\b`).test(readFileSync(`${ROOT}${file}`, "utf8"));
      t.ok(cited, `${file} cites ${invariant}`);
    }
  }
});

function sourceOf(name: string): string {
  return name.startsWith("agent/") ? `packages/agent/src/${name.slice(6)}` : `packages/controller/src/${name}`;
}
