import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import t from "tap";
import { everyRoute } from "./routes.js";

const DOC = fileURLToPath(new URL("../../docs/security.md", import.meta.url));
const TABLE = /\| route \| who \|\n\|---\|---\|\n(?:\|.*\n)*/;

t.test("docs/security.md says who may call what, as the routes do", async (t) => {
  const rows = everyRoute()
    .filter(({ method }) => method !== "HEAD")
    .map(({ method, url, access }) => `| \`${method} ${url}\` | ${access.join(", ")} |\n`);
  const table = `| route | who |\n|---|---|\n${rows.join("")}`;
  const text = readFileSync(DOC, "utf8");
  if (process.env.UPDATE_DOCS === "1")
    writeFileSync(
      DOC,
      text.replace(TABLE, () => table),
    );
  t.equal(TABLE.exec(readFileSync(DOC, "utf8"))?.[0], table, "UPDATE_DOCS=1 npx tap run test/http/access-doc.test.ts");
});
