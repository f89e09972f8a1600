import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import t from "tap";
import { buildPackages } from "../../scripts/package/build.js";
import { packages } from "./built.js";

t.test("built again, in another folder and from nothing, the packages are the same to the byte", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "belay-again-"));
  t.teardown(() => rmSync(dir, { recursive: true }));
  // A cache of its own: Node is fetched and the addon compiled once more, too.
  const made = await buildPackages({ out: join(dir, "out"), cache: join(dir, "cache") });
  const first = dirname(packages.agent);
  t.same(made.map((file) => basename(file)).sort(), readdirSync(first).sort());
  for (const file of made) t.equal(digestOf(file), digestOf(join(first, basename(file))), basename(file));
});

function digestOf(file: string): string {
  return createHash("sha256").update(readFileSync(file)).digest("hex");
}
