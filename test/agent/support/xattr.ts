import { execFileSync, spawnSync } from "node:child_process";

const CODE =
  "import os,sys; a=sys.argv; os.setxattr(a[1],a[2],a[3].encode()) if a[3] else print(os.getxattr(a[1],a[2]).decode())";

/** Sets an extended attribute, or reads it. */
export function xattr(file: string, name: string, value?: string): string {
  return execFileSync("python3", ["-c", CODE, file, name, value ?? ""], { encoding: "utf8" }).trim();
}

/** Why files below a folder can't have extended attributes, for `skip`; false: they can. Leaves the folder as it was but for one. */
export function whyNoXattrs(dir: string): string | false {
  const set = spawnSync("python3", ["-c", CODE, dir, "user.belay", "x"], { encoding: "utf8" });
  return set.status === 0 ? false : `no extended attributes in ${dir}: ${set.stderr.trim().split("\n").at(-1)}`;
}
