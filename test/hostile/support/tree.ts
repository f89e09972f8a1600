import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join, relative } from "node:path";

/** What one name in a folder is, down to what only root can change. */
export type Sight = string;

const EXTENDED = `
import json, os, sys
seen = {}
for folder, dirs, files in os.walk(sys.argv[1]):
    for name in dirs + files:
        path = os.path.join(folder, name)
        try:
            names = os.listxattr(path, follow_symlinks=False)
        except OSError:
            continue
        if names:
            seen[os.path.relpath(path, sys.argv[1])] = [[n, os.getxattr(path, n, follow_symlinks=False).hex()] for n in sorted(names)]
print(json.dumps(seen))
`;

/**
 * Everything below a folder, by name: kind, mode, owner, links, content, and attributes (ACLs and capabilities are some).
 * Two sights of an untouched folder are equal. `without` are relative paths that are left out with all that is below.
 */
export function lookAtTree(dir: string, without: readonly RegExp[] = []): Record<string, Sight> {
  const attributes = attributesBelow(dir);
  const seen: Record<string, Sight> = {};
  const walk = (folder: string) => {
    for (const name of readdirSync(folder).sort()) {
      const path = join(folder, name);
      const shown = relative(dir, path);
      if (without.some((each) => each.test(shown))) continue;
      seen[shown] = describe(path, attributes[shown]);
      if (lstatSync(path).isDirectory()) walk(path);
    }
  };
  walk(dir);
  return seen;
}

function describe(path: string, attributes: unknown): Sight {
  const stat = lstatSync(path);
  const owner = `${stat.uid}:${stat.gid}`;
  const mode = stat.mode.toString(8);
  const more = attributes === undefined ? "" : ` ${JSON.stringify(attributes)}`;
  if (stat.isSymbolicLink()) return `${mode} ${owner} -> ${readlinkSync(path)}${more}`;
  if (!stat.isFile()) return `${mode} ${owner}${more}`;
  const content = createHash("sha256").update(readFileSync(path)).digest("hex");
  return `${mode} ${owner} links=${stat.nlink} size=${stat.size} at=${stat.mtimeMs} ${content}${more}`;
}

function attributesBelow(dir: string): Record<string, unknown> {
  const { status, stdout, stderr } = spawnSync("python3", ["-c", EXTENDED, dir], { encoding: "utf8" });
  if (status !== 0) throw new Error(`python3 can't read attributes: ${stderr}`);
  return JSON.parse(stdout) as Record<string, unknown>;
}
