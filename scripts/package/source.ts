import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { BelayError } from "@belay/shared";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** What a package says of itself that is not in its files. */
export interface Edition {
  /** As Belay writes it: 0.2.0-rc.1 */
  version: string;
  /** As Debian writes it, so that a release candidate sorts before its release: 0.2.0~rc.1 */
  debianVersion: string;
  /** The date of every file, in seconds: that of the changelog's newest entry, or SOURCE_DATE_EPOCH. */
  epochSeconds: number;
}

/** Reads version and date from the changelog; `version` replaces the one it says. Throws `changelog-invalid`, `usage`. */
export async function readEdition(version?: string): Promise<Edition> {
  const text = await readFile(join(ROOT, "packaging/changelog"), "utf8");
  const said = /^belay \(([^)]+)\)/.exec(text)?.[1];
  const date = /^ -- .*> {2}(.+)$/m.exec(text)?.[1] ?? "";
  const epochSeconds = Number(process.env.SOURCE_DATE_EPOCH ?? Date.parse(date) / 1000);
  if (said === undefined || !Number.isInteger(epochSeconds)) {
    throw new BelayError("changelog-invalid", "packaging/changelog does not begin with a version and its date");
  }
  const asked = version ?? said.replace("~", "-");
  if (!/^\d+\.\d+\.\d+(?:-[0-9A-Za-z.]+)?$/.test(asked)) {
    throw new BelayError("usage", `${asked} is not a version`, { hint: "write it as 0.2.0 or 0.2.0-rc.1" });
  }
  return { version: asked, debianVersion: asked.replace("-", "~"), epochSeconds };
}
