import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import t from "tap";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

interface Entry {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly hasInstallScript?: boolean;
}

const { packages } = JSON.parse(readFileSync(`${ROOT}package-lock.json`, "utf8")) as {
  packages: Record<string, Entry>;
};

/** Every package that these workspaces need at run time, with all that those pull in. */
function runtimePackages(workspaces: readonly string[]): Map<string, Entry> {
  const found = new Map<string, Entry>();
  const visit = (entry: Entry, path: string) => {
    for (const name of Object.keys(entry.dependencies ?? {})) {
      const at = [`${path}/node_modules/${name}`, `node_modules/${name}`].find((candidate) => packages[candidate]);
      const next = at === undefined ? undefined : packages[at];
      if (at === undefined || next === undefined) throw new Error(`the lockfile has no ${name}`);
      if (found.has(at)) continue;
      found.set(at, next);
      visit(next, at);
    }
  };
  for (const workspace of workspaces) visit(packages[workspace] ?? {}, workspace);
  return found;
}

t.test("the agent has at most ten runtime packages, all they pull in included, and none is native", async (t) => {
  const found = runtimePackages(["packages/agent", "packages/shared"]);
  t.ok(found.size >= 4 && found.size <= 10, [...found.keys()].join(", "));
  for (const [path, { hasInstallScript = false }] of found) {
    t.notOk(hasInstallScript || existsSync(`${ROOT}${path}/binding.gyp`), `${path} is built by nobody`);
  }
});

t.test("the controller has one native addon", async (t) => {
  const native = [...runtimePackages(["packages/controller"])].filter(([, { hasInstallScript }]) => hasInstallScript);
  t.same(
    native.map(([path]) => path),
    ["node_modules/better-sqlite3"],
  );
});
