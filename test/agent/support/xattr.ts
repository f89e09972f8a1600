import { execFileSync } from "node:child_process";

const CODE =
  "import os,sys; a=sys.argv; os.setxattr(a[1],a[2],a[3].encode()) if a[3] else print(os.getxattr(a[1],a[2]).decode())";

/** Sets an extended attribute, or reads it. */
export function xattr(file: string, name: string, value?: string): string {
  return execFileSync("python3", ["-c", CODE, file, name, value ?? ""], { encoding: "utf8" }).trim();
}
