import { execFileSync } from "node:child_process";
import { labPackages } from "../../scripts/lab/packages.js";

const { agent, controller } = await labPackages();
/** Built once a run of tests, and kept for the next while the sources stay the same. */
export const packages = { agent, controller };

/** What dpkg-deb says of a package. */
export function ask(deb: string, what: string): string {
  return execFileSync("dpkg-deb", [what, deb], { encoding: "utf8", maxBuffer: 64 * 1024 * 1024 });
}

/** A package's files: path -> `drwx------ root/root`, and where a link leads. */
export function filesOf(deb: string): Map<string, { mode: string; owner: string; target: string | null }> {
  const rows = ask(deb, "--contents").trimEnd().split("\n");
  return new Map(
    rows.map((row) => {
      const [mode = "", owner = "", , , , ...rest] = row.split(/ +/);
      const [path = "", target] = rest.join(" ").split(" -> ");
      return [path.replace(/^\./, ""), { mode, owner, target: target ?? null }];
    }),
  );
}
