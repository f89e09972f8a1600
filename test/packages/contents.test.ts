import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { ask, filesOf, packages } from "./built.js";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const { version } = JSON.parse(readFileSync(`${ROOT}package.json`, "utf8")) as { version: string };

const dir = mkdtempSync(join(tmpdir(), "belay-contents-"));
t.teardown(() => rmSync(dir, { recursive: true }));
for (const [name, deb] of Object.entries(packages)) {
  execFileSync("dpkg-deb", ["--raw-extract", deb, join(dir, name)]);
}

t.test("what the agent's package puts where, for whom", async (t) => {
  const files = filesOf(packages.agent);
  const expected: Record<string, string> = {
    "/etc/belay/": "drwxr-xr-x",
    "/etc/belay/agent.yaml": "-rw-r--r--",
    "/etc/belay/hooks.d/": "drwxr-xr-x",
    "/usr/bin/belay-agent": "lrwxrwxrwx",
    "/usr/lib/belay-agent/belay-agent": "-rwxr-xr-x",
    "/usr/lib/belay-agent/notified": "-rwxr-xr-x",
    "/usr/lib/systemd/system/belay-agent.service": "-rw-r--r--",
    "/usr/lib/systemd/system/belay-agent-rescue.service": "-rw-r--r--",
    "/usr/share/man/man5/agent.yaml.5.gz": "-rw-r--r--",
    "/usr/share/man/man8/belay-agent.8.gz": "-rw-r--r--",
    "/var/lib/belay-agent/": "drwx------",
  };
  for (const [path, mode] of Object.entries(expected)) t.equal(files.get(path)?.mode, mode, path);
  t.equal(files.get("/usr/bin/belay-agent")?.target, "/opt/belay/agent/current/belay-agent");
  t.notOk(
    [...files.keys()].some((path) => path.startsWith("/opt")),
    "what an upgrade may replace is not dpkg's",
  );
});

t.test("what the controller's package puts where", async (t) => {
  const files = filesOf(packages.controller);
  const expected: Record<string, string> = {
    "/etc/belay/belayd.yaml": "-rw-r--r--",
    "/etc/belay/fleet.yaml": "-rw-r--r--",
    "/usr/bin/belay": "lrwxrwxrwx",
    "/usr/bin/belay-audit-verify": "lrwxrwxrwx",
    "/usr/bin/belayd": "lrwxrwxrwx",
    "/usr/lib/belay/node": "-rwxr-xr-x",
    "/usr/lib/systemd/system/belayd.service": "-rw-r--r--",
    "/usr/share/bash-completion/completions/belay": "-rw-r--r--",
    "/usr/share/fish/vendor_completions.d/belay.fish": "-rw-r--r--",
    "/usr/share/zsh/vendor-completions/_belay": "-rw-r--r--",
    "/usr/share/man/man1/belay.1.gz": "-rw-r--r--",
    "/usr/share/man/man5/belayd.yaml.5.gz": "-rw-r--r--",
    "/usr/share/man/man5/fleet.yaml.5.gz": "-rw-r--r--",
    "/usr/share/man/man8/belayd.8.gz": "-rw-r--r--",
  };
  for (const [path, mode] of Object.entries(expected)) t.equal(files.get(path)?.mode, mode, path);
});

t.test("all belongs to root, and nobody else may write", async (t) => {
  const files = Object.values(packages).flatMap((deb) => [...filesOf(deb)]);
  t.ok(files.length > 50);
  for (const [path, { mode, owner }] of files) {
    if (owner !== "root/root") t.fail(`${path} belongs to ${owner}`);
    if (!mode.startsWith("l") && /^.{5}w|^.{8}w|[sS]/.test(mode)) t.fail(`${path} is ${mode}`);
  }
});

t.test("everything in /etc is a conffile, and the version is the repository's", async (t) => {
  for (const [name, deb] of Object.entries(packages)) {
    const conffiles = readFileSync(join(dir, name, "DEBIAN/conffiles"), "utf8")
      .trim()
      .split("\n");
    const inEtc = [...filesOf(deb)].filter(([path, { mode }]) => path.startsWith("/etc/") && mode.startsWith("-"));
    t.same(conffiles.sort(), inEtc.map(([path]) => path).sort(), name);
    t.match(ask(deb, "--field"), new RegExp(`^Version: ${version.replaceAll(".", "\\.")}$`, "m"));
  }
  t.match(
    readFileSync(`${ROOT}packaging/changelog`, "utf8"),
    new RegExp(`^belay \\(${version.replaceAll(".", "\\.")}\\) `),
  );
});

t.test("what is inside is named, with its licence and its digest", async (t) => {
  for (const [name, packageName] of [
    ["agent", "belay-agent"],
    ["controller", "belay"],
  ] as const) {
    const doc = join(dir, name, "usr/share/doc", packageName);
    const { components } = JSON.parse(readFileSync(join(doc, "sbom.cdx.json"), "utf8")) as {
      components: { name: string; type: string; hashes?: { content: string }[] }[];
    };
    const names = components.map((component) => component.name);
    for (const expected of ["node", "ws", "yaml", "typebox"]) t.ok(names.includes(expected), `${name} has ${expected}`);
    t.equal(names.includes("better-sqlite3"), name === "controller");
    for (const { type, hashes = [] } of components)
      if (type === "library") t.match(hashes[0]?.content, /^[0-9a-f]{128}$/);
    const copyright = readFileSync(join(doc, "copyright"), "utf8");
    for (const expected of names.slice(1))
      t.match(copyright, new RegExp(`^${expected} \\d[^\n]*: [^\n]+$`, "m"), expected);
  }
});

t.test("md5sums covers every plain file, rightly", async (t) => {
  for (const [name, deb] of Object.entries(packages)) {
    const sums = readFileSync(join(dir, name, "DEBIAN/md5sums"), "utf8")
      .trimEnd()
      .split("\n");
    const plain = [...filesOf(deb)].filter(([, { mode }]) => mode.startsWith("-"));
    t.equal(sums.length, plain.length);
    execFileSync("md5sum", ["--check", "--quiet", "DEBIAN/md5sums"], { cwd: join(dir, name) });
  }
});

t.test("the maintainer scripts are shell that can be read", async (t) => {
  for (const name of Object.keys(packages)) {
    for (const script of ["postinst", "prerm", "postrm"]) {
      const path = join(dir, name, "DEBIAN", script);
      t.equal(statSync(path).mode & 0o777, 0o755);
      execFileSync("sh", ["-n", path]);
      t.notMatch(readFileSync(path, "utf8"), /@[A-Z_]+@/, "every placeholder is filled");
    }
  }
});

t.test("the agent is one file that needs no Node, and says its version", async (t) => {
  const program = join(dir, "agent/usr/lib/belay-agent/belay-agent");
  t.equal(execFileSync(program, ["--version"], { env: {}, encoding: "utf8" }), `${version}\n`);
});

t.test("belayd and belay run on the package's own Node, with its own addon", async (t) => {
  const lib = join(dir, "controller/usr/lib/belay");
  for (const program of ["lib/belayd.js", "lib/cli/belay.js", "lib/audit/belay-audit-verify.js"]) {
    const said = execFileSync(join(lib, "node"), [join(lib, program), "--version"], { env: {}, encoding: "utf8" });
    t.equal(said.trim(), version);
    t.match(readFileSync(join(lib, program), "utf8"), /^#!\/usr\/lib\/belay\/node\n/);
  }
  const query = 'const D = require(process.argv[1]); console.log(new D(":memory:").prepare("select 6 * 7 n").get().n)';
  const answer = execFileSync(join(lib, "node"), ["-e", query, join(lib, "node_modules/better-sqlite3")], { env: {} });
  t.equal(answer.toString(), "42\n");
});

t.test("nothing of the folder it was built in is inside", async (t) => {
  const files = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((each) => each.isFile());
  t.ok(files.length > 30);
  for (const file of files) {
    const path = join(file.parentPath, file.name);
    if (readFileSync(path).includes(ROOT)) t.fail(`${path} names ${ROOT}`);
  }
});
