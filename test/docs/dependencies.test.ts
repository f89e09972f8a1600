import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import t from "tap";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

interface Entry {
  readonly version?: string;
  readonly integrity?: string;
  readonly link?: boolean;
  readonly optional?: boolean;
  readonly os?: readonly string[];
  readonly cpu?: readonly string[];
  readonly libc?: readonly string[];
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

t.test("no package runs scripts of its own on whoever installs Belay, but for the one native addon", async (t) => {
  t.match(readFileSync(`${ROOT}.npmrc`, "utf8"), /^ignore-scripts=true$/m);
  const { allowScripts } = manifest("package.json");
  t.same(allowScripts, { "better-sqlite3": true, esbuild: false });
  const setup = readFileSync(`${ROOT}scripts/setup.mjs`, "utf8");
  t.same(setup.match(/"npm", \[.*?\]/g), [
    '"npm", ["ci", "--ignore-scripts", "--no-fund", "--no-audit", "--loglevel=error"]',
    '"npm", ["rebuild", "better-sqlite3", "--ignore-scripts=false", "--loglevel=error"]',
  ]);
  const scripted = Object.entries(packages).filter(([, { hasInstallScript }]) => hasInstallScript);
  // esbuild's script only checks what the lockfile's digest has said already.
  t.same(
    scripted.map(([path]) => path),
    ["node_modules/better-sqlite3", "node_modules/esbuild"],
    "another package wants to run scripts: is it needed?",
  );
});

t.test("the lockfile pins every package to its bytes", async (t) => {
  const installed = Object.entries(packages).filter(([path, { link }]) => path.includes("node_modules/") && !link);
  t.ok(installed.length > 300, `${installed.length} packages`);
  for (const [path, entry] of installed) {
    if (!/^\d+\.\d+\.\d+/.test(entry.version ?? "")) t.fail(`${path} has no version`);
    if (/^sha512-[A-Za-z0-9+/]{86}==$/.test(entry.integrity ?? "")) continue;
    // Builds for other platforms, which the registry that the file was made from may not have: npm installs them nowhere here.
    const isElsewhere =
      entry.optional === true && entry.os !== undefined && !(entry.os.includes("linux") && fits(entry.cpu, entry.libc));
    t.ok(isElsewhere, `${path} has no digest`);
  }
});

t.test("packages are named by their exact version, and each of them is in the lockfile as it is named", async (t) => {
  for (const workspace of ["", "packages/shared/", "packages/agent/", "packages/controller/"]) {
    const { dependencies = {}, devDependencies = {} } = manifest(`${workspace}package.json`);
    for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies })) {
      if (name.startsWith("@belay/")) continue;
      t.match(version, /^\d+\.\d+\.\d+(?:-[\w.]+)?$/, `${workspace}package.json: ${name}`);
      const at = [`${workspace}node_modules/${name}`, `node_modules/${name}`].find((path) => packages[path]);
      t.equal(at === undefined ? undefined : packages[at]?.version, version, name);
    }
  }
});

/** Would npm install a build for these on what belayd runs on: 64-bit Intel with glibc? */
function fits(cpu: readonly string[] = ["x64"], libc: readonly string[] = ["glibc"]): boolean {
  return cpu.includes("x64") && libc.includes("glibc");
}

function manifest(file: string) {
  return JSON.parse(readFileSync(`${ROOT}${file}`, "utf8")) as {
    allowScripts?: object;
    dependencies?: Record<string, string>;
    devDependencies?: Record<string, string>;
  };
}
