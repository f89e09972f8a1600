import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import t from "tap";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const [, section = ""] = readFileSync(`${ROOT}docs/security.md`, "utf8").split("## Attacks that were made on others\n");
const rows = [...section.matchAll(/^\| ([^|]+) \| (test[^|]+) \|$/gm)];

t.test("every class of attack has a test that is named after it", async (t) => {
  t.ok(rows.length >= 13, `${rows.length} classes`);
  for (const [, attack = "", tests = ""] of rows) {
    const named = [...tests.matchAll(/(test\/\S+\.test\.ts) "([^"]+)"/g)];
    t.ok(named.length > 0, attack);
    for (const [, file = "", name = ""] of named) {
      const titles = [...readFileSync(`${ROOT}${file}`, "utf8").matchAll(/t\.test\(\s*"((?:[^"\\]|\\.)*)"/g)];
      t.ok(
        titles.some(([, title = ""]) => title.includes(name)),
        `${attack}: ${file} has a test "... ${name} ..."`,
      );
    }
  }
});
