import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import t from "tap";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const page = readFileSync(`${ROOT}docs/security.md`, "utf8");

t.test("every test that docs/security.md leans on is there", async (t) => {
  const named = new Set(page.match(/test\/[a-z0-9/-]+\.test\.ts/g));
  t.ok(named.size >= 20, `${named.size} are named`);
  for (const file of named) t.ok(existsSync(ROOT + file), file);
});

t.test("every row of the threat model names one", async (t) => {
  const model = /## Threat model\n([\s\S]*?)\n## /.exec(page)?.[1] ?? "";
  const rows = model.split("\n").filter((line) => line.startsWith("| ") && !line.startsWith("| who "));
  t.ok(rows.length >= 8, `${rows.length} rows`);
  for (const row of rows) t.match(row, /test\/.+\.test\.ts/, row.slice(0, 60));
});
