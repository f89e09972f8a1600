import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { copyInto, type Packages } from "../../scripts/lab/belay.js";
import { CONTROL, type LabHost } from "../../scripts/lab/fleet.js";
import { Hosts, whyNoHosts } from "../../scripts/lab/host/hosts.js";
import { hostBinds } from "../../scripts/lab/lab.js";
import { labPackages } from "../../scripts/lab/packages.js";
import { installTeleport, LAB_NODE } from "../../scripts/lab/teleport.js";
import { buildRelease } from "../support/standin/build-release.js";

const FROM = "5.4.2";
const TO = "6.2.31";
const BLOCK_TIMEOUT_MS = 5 * 60_000;
const FLEET: readonly LabHost[] = [
  { name: "auth-1", cluster: "eu", role: "auth" },
  { name: "node-1", cluster: "eu", role: "node" },
];

/** What docs/operations.md asks a person to type, on which hosts, or to write, into which file. */
interface Block {
  readonly line: number;
  readonly kind: string;
  readonly places: readonly string[];
  readonly text: string;
}

function readBlocks(): Block[] {
  const guide = readFileSync(fileURLToPath(new URL("../../docs/operations.md", import.meta.url)), "utf8");
  return [...guide.matchAll(/^```(sh|yaml) (.+)\n([\s\S]*?)^```$/gm)].map(
    ([, kind = "", where = "", text = ""], index) => ({
      line: guide.slice(0, [...guide.matchAll(/^```(sh|yaml) (.+)\n/gm)][index]?.index).split("\n").length,
      kind,
      places: where.split(" "),
      text,
    }),
  );
}

/** Two hosts with Teleport on them and one for belayd, as a newcomer has them: packages, a release, and SSH between them. */
async function prepare(hosts: Hosts, packages: Packages): Promise<void> {
  const control = hosts.machine(CONTROL);
  for (const host of FLEET) await installTeleport(host, FLEET, hosts, FROM);
  const release = await buildRelease({ ...LAB_NODE, version: TO, out: `${hosts.dir}/releases` });
  for (const file of [packages.controller, release.file, `${release.file}.sha256`]) {
    await copyInto(control, file, `/root/${basename(file)}`);
  }
  await control.shell('mkdir -p -m 700 /root/.ssh && ssh-keygen -q -t ed25519 -N "" -f /root/.ssh/id_ed25519');
  await control.writeFile("/root/.ssh/config", "Host *\n  StrictHostKeyChecking accept-new\n  LogLevel ERROR\n", 0o600);
  const key = await control.shell("cat /root/.ssh/id_ed25519.pub");
  for (const { name } of FLEET) {
    const machine = hosts.machine(name);
    await copyInto(machine, packages.agent, `/root/${basename(packages.agent)}`);
    await machine.must(["mkdir", "-p", "-m", "700", "/root/.ssh"]);
    await machine.writeFile("/root/.ssh/authorized_keys", key, 0o600);
    await machine.shell("mkdir -p /run/sshd && systemctl start ssh");
  }
}

t.setTimeout(20 * 60_000);

t.test("every command of the operations guide works as written", { skip: whyNoHosts() ?? false }, async (t) => {
  const hosts = await Hosts.open("guide", (line) => t.comment(line));
  t.teardown(() => hosts.close());
  const binds = await hostBinds();
  await hosts.boot([CONTROL, "auth-1", "node-1"].map((name) => ({ name, binds })));
  await prepare(hosts, await labPackages());

  const blocks = readBlocks();
  t.ok(blocks.length >= 18, `${blocks.length} blocks`);
  for (const { line, kind, places, text } of blocks) {
    for (const place of places) {
      if (kind === "yaml") {
        const [host = "", file = ""] = place.split(":");
        await hosts.machine(host).writeFile(file, text);
        continue;
      }
      const ran = await typed(hosts, place, await named(hosts, text));
      t.equal(ran.code, 0, `docs/operations.md:${line} on ${place}`, {
        said: `${ran.stdout}\n${ran.stderr}`.slice(-3000),
      });
      // What comes after would only tell of what failed here.
      if (ran.code !== 0) return;
    }
  }
});

function typed(hosts: Hosts, host: string, text: string) {
  const script = `set -eu; cd /root; export HOME=/root\n${text}`;
  return hosts.machine(host).exec(["bash", "-c", script], { timeoutMs: BLOCK_TIMEOUT_MS });
}

/** BACKUP stands for the name that `belay backup list` shows; here, the newest of the node that is no safety copy. */
async function named(hosts: Hosts, text: string): Promise<string> {
  if (!text.includes("BACKUP ") && !/BACKUP$/m.test(text)) return text;
  const listed = await typed(hosts, CONTROL, "belay backup list --host node-1 --json");
  const backups = JSON.parse(listed.stdout) as { backup: string; takenAt: number }[];
  const newest = [...backups].sort((a, b) => b.takenAt - a.takenAt)[0];
  return text.replaceAll(/\bBACKUP\b/g, newest?.backup ?? "none");
}
