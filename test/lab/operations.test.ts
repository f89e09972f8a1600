import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { copyInto, type Packages } from "../../scripts/lab/belay.js";
import { CONTROL, type LabHost } from "../../scripts/lab/fleet.js";
import type { Ran } from "../../scripts/lab/host/command.js";
import { Hosts, whyNoHosts } from "../../scripts/lab/host/hosts.js";
import { hostBinds } from "../../scripts/lab/lab.js";
import { labPackages } from "../../scripts/lab/packages.js";
import { installTeleport, LAB_NODE } from "../../scripts/lab/teleport.js";
import { buildRelease } from "../support/standin/build-release.js";
import { commandsOf, type Guide, isTyped, readGuide, wordsOf } from "./guide.js";
import { SAID } from "./said.js";
import { labName } from "./scene.js";

const GUIDE = fileURLToPath(new URL("../../docs/operations.md", import.meta.url));
const FROM = "5.4.2";
const TO = "6.2.31";
const AGENT_TO = "0.2.0";
const BLOCK_TIMEOUT_MS = 5 * 60_000;
const FLEET: readonly LabHost[] = [
  { name: "auth-1", cluster: "eu", role: "auth" },
  { name: "node-1", cluster: "eu", role: "node" },
];
/** What these say is looked at each time they are typed; of all others, that they end well. */
const SPEAKERS = new Set(["belay", "belayd", "belay-agent", "journalctl", "readlink", "teleport"]);
/** What a person who is asked at a gate types. */
const ANSWERS = [
  ["[w]ait? ", "approve\n"],
  ["reason: ", "auth is healthy\n"],
] as const;

/** Two hosts with Teleport on them and one for belayd, as a newcomer has them: packages, releases, and SSH between them. */
async function prepare(hosts: Hosts, packages: Packages): Promise<void> {
  const control = hosts.machine(CONTROL);
  for (const host of FLEET) await installTeleport(host, FLEET, hosts, FROM);
  const release = await buildRelease({ ...LAB_NODE, version: TO, out: `${hosts.dir}/releases` });
  for (const file of [packages.controller, release.file, `${release.file}.sha256`]) {
    await copyInto(control, file, `/root/${basename(file)}`);
  }
  const { agentRelease } = await labPackages(AGENT_TO);
  const there = `/root/${basename(agentRelease)}`;
  await copyInto(control, agentRelease, there);
  const digest = createHash("sha256")
    .update(await readFile(agentRelease))
    .digest("hex");
  await control.writeFile(`${there}.sha256`, `${digest}\n`);
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
  const guide = readGuide(readFileSync(GUIDE, "utf8"));
  t.same(guide.unknown, [], "every block says what it is, and where it is typed");
  const hosts = await Hosts.open(labName("guide"), (line) => t.comment(line));
  t.teardown(() => hosts.close());
  const binds = await hostBinds();
  await hosts.boot([CONTROL, "auth-1", "node-1"].map((name) => ({ name, binds })));
  await prepare(hosts, await labPackages());

  const typed = await typeAll(t, hosts, guide);
  if (typed === null) return;
  t.same(
    [...SAID].filter(([, said]) => said.length > 0).map(([command]) => command),
    [],
    "nothing is expected of what was not typed",
  );
  const programs = await programsOn(hosts, guide);
  const named = commandsOf(guide.text, programs);
  t.ok(named.length > 0);
  for (const command of named) t.ok(isTyped(command, typed), `\`${command}\` of the text is typed in some block`);
});

/** Types every block, and looks at what each command says. Null: one of them failed, and what comes after would only tell of that. */
async function typeAll(t: Test, hosts: Hosts, { blocks }: Guide): Promise<string[] | null> {
  const typed: string[] = [];
  for (const { line, kind, places, text } of blocks) {
    for (const place of places) {
      if (kind === "yaml") {
        const [host = "", file = ""] = place.split(":");
        await hosts.machine(host).writeFile(file, text);
        continue;
      }
      const script = await named(hosts, text);
      const ran = kind === "terminal" ? await atTerminal(hosts, place, script) : await run(hosts, place, script);
      const said = `${ran.stdout}\n${ran.stderr}`;
      t.equal(ran.code, 0, `docs/operations.md:${line} on ${place}`, { said: said.slice(-3000) });
      if (ran.code !== 0) return null;
      typed.push(...ran.typed);
      for (const command of new Set(ran.typed)) lookAt(t, command, said, `docs/operations.md:${line} on ${place}`);
    }
  }
  return typed;
}

/** Holds what a block said against what this command, typed for the so manieth time, must say. */
function lookAt(t: Test, command: string, said: string, where: string): void {
  const words = wordsOf(command);
  if (!SPEAKERS.has(words[0] ?? "")) return;
  const known = [...SAID.keys()].filter((each) => `${words.join(" ")} `.startsWith(`${each} `));
  const longest = known.sort((a, b) => b.length - a.length)[0] ?? "";
  const expected = SAID.get(longest)?.shift();
  if (expected === undefined) t.fail(`nobody looks at what \`${command}\` says, at ${where}`, { said });
  else t.match(said, expected, `\`${command}\`, at ${where}`);
}

type Typed = Ran & { readonly typed: string[] };

const TRACE = "/run/typed";

/** Types a block into a shell, which writes down each command that it runs. */
async function run(hosts: Hosts, host: string, text: string): Promise<Typed> {
  const machine = hosts.machine(host);
  const script = `set -eu; cd /root; export HOME=/root; exec 9> ${TRACE}; BASH_XTRACEFD=9; set -x\n${text}`;
  const ran = await machine.exec(["bash", "-c", script], { timeoutMs: BLOCK_TIMEOUT_MS });
  const trace = await machine.must(["cat", TRACE]);
  return { ...ran, typed: [...trace.matchAll(/^\++ (.*)$/gm)].map(([, command = ""]) => command) };
}

/** Types a command where a person sits, and answers what is asked. */
async function atTerminal(hosts: Hosts, host: string, text: string): Promise<Typed> {
  const command = text.trim();
  const typing =
    'cd /root; export HOME=/root TERM=xterm; exec script --quiet --return --flush --command "$0" /dev/null';
  const [file = "", ...args] = hosts.machine(host).enter(["bash", "-c", typing, command]);
  const child = spawn(file, args, {
    stdio: ["pipe", "pipe", "inherit"],
    timeout: BLOCK_TIMEOUT_MS,
    killSignal: "SIGKILL",
  });
  // Whoever ends early is asked nothing more; how it ended is what is looked at.
  child.stdin.on("error", () => {});
  let said = "";
  let heard = 0;
  child.stdout.setEncoding("utf8").on("data", (piece: string) => {
    said += piece;
    for (const [question, answer] of ANSWERS) {
      if (!said.slice(heard).includes(question)) continue;
      heard = said.length;
      child.stdin.write(answer);
    }
  });
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout: said, stderr: "", typed: [command] };
}

/** BACKUP stands for the newest backup of the node, TOKEN for the newest token of olga: what `belay backup list`, `belay token list` show. */
async function named(hosts: Hosts, text: string): Promise<string> {
  const ask = async <T>(command: string) => JSON.parse((await run(hosts, CONTROL, `${command} --json`)).stdout) as T[];
  let all = text;
  if (/\bBACKUP\b/.test(all)) {
    const backups = await ask<{ backup: string; takenAt: number }>("belay backup list --host node-1");
    const newest = backups.sort((a, b) => b.takenAt - a.takenAt)[0];
    all = all.replaceAll(/\bBACKUP\b/g, newest?.backup ?? "none");
  }
  if (/\bTOKEN\b/.test(all)) {
    const tokens = await ask<{ id: string; createdAt: number }>("belay token list --token-file olga.token");
    const newest = tokens.sort((a, b) => b.createdAt - a.createdAt)[0];
    all = all.replaceAll(/\bTOKEN\b/g, newest?.id ?? "none");
  }
  return all;
}

/** Which of the words that a span of the text begins with are programs of the hosts. */
async function programsOn(hosts: Hosts, { text }: Guide): Promise<Set<string>> {
  const found = new Set<string>();
  const words = new Set([...text.matchAll(/`([a-z][a-z-]*)\s/g)].map(([, word = ""]) => word));
  for (const host of [CONTROL, "auth-1"]) {
    for (const word of words) {
      const asked = await hosts.machine(host).exec(["bash", "-c", 'type -P "$0"', word]);
      if (asked.code === 0) found.add(word);
    }
  }
  return found;
}
