import { spawn } from "node:child_process";
import { parseArgs } from "node:util";
import { FROM, STOP, TO } from "../demo/fleet.js";
import { heading, say, since } from "../demo/screen.js";
import { CONTROL, FEWEST_HOSTS } from "./fleet.js";
import { clear, clearLeftBehind, Hosts, whyNoHosts } from "./host/hosts.js";
import { Lab } from "./lab.js";
import { labPackages } from "./packages.js";
import { approveAll, live, planTo, show } from "./upgrade.js";

const MOST_HOSTS = 60;
const DEFAULT_HOSTS = 12;
/** As a shell says of a command that Ctrl-C ended. */
const INTERRUPTED = 130;
const HELP = `npm run lab -- [options]            boot a fleet, upgrade it from ${FROM} to ${TO} through gates, keep it up for a look
npm run lab -- ssh HOST [COMMAND]   a shell on a host of a lab that is up (${CONTROL} is the controller's)
npm run lab -- list                 its hosts and their addresses
npm run lab -- down                 end it, and clear all it left on this machine
npm run lab -- down --left-behind   the same for every lab, and test, whose process is gone

Real systemd hosts on this machine (systemd-nspawn): Belay from its Debian packages, a root cluster with two auths on etcd,
a leaf cluster on SQLite, and a stand-in for Teleport as the service. Needs root, and about 60 MB of memory a host.

  --hosts N    hosts of the fleet, from ${FEWEST_HOSTS} to ${MOST_HOSTS}; the controller's comes on top (${DEFAULT_HOSTS})
  --yes        approve every gate, and end the lab afterwards
  --keep       keep it up also with --yes, and when it can't be brought up whole
  --bad        the ${STOP} release crashes after 5 s on proxies: see it reverted, and the run stop at a failure gate
  --name NAME  of this lab, so that several can be up at once (lab)
  --help
`;

const argv = process.argv.slice(2);
// What stands behind a host's name is that host's command, options and all.
const ssh = argv.indexOf("ssh");
const own = ssh === -1 ? argv : argv.slice(0, ssh + 2);
const typed = ssh === -1 ? [] : argv.slice(ssh + 2).filter((word, index) => index > 0 || word !== "--");
const { values, positionals } = parseArgs({
  args: own,
  allowPositionals: true,
  options: {
    hosts: { type: "string", default: String(DEFAULT_HOSTS) },
    yes: { type: "boolean", default: false },
    keep: { type: "boolean", default: false },
    bad: { type: "boolean", default: false },
    name: { type: "string", default: "lab" },
    "left-behind": { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

process.exit(await main());

async function main(): Promise<number> {
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const why = whyNoHosts();
  if (why !== null) return complain(why, "The lab boots real hosts: run it as root on Debian, or see `npm run demo`.");
  if (!/^[a-z][a-z0-9-]{0,19}$/.test(values.name))
    return complain(`"${values.name}" is no name for a lab`, "like lab-2");
  const [command, ...rest] = positionals;
  switch (command) {
    case undefined:
      return upgradeAll();
    case "ssh":
      return shell(rest[0], typed);
    case "list":
      return list();
    case "down":
      if (!values["left-behind"]) await clear(values.name);
      for (const name of values["left-behind"] ? await clearLeftBehind() : [values.name]) {
        say(`lab ${name} is down; nothing of it is left on this machine`);
      }
      return 0;
    default:
      return complain(`there is no command ${command}`, "see npm run lab -- --help");
  }
}

async function upgradeAll(): Promise<number> {
  const count = Number(values.hosts);
  if (!Number.isInteger(count) || count < FEWEST_HOSTS || count > MOST_HOSTS) {
    return complain(`--hosts ${values.hosts}`, `a whole number from ${FEWEST_HOSTS} to ${MOST_HOSTS}`);
  }
  const standing = await Hosts.standing(values.name);
  if (standing === "kept" || standing === "at work") {
    return complain(`lab ${values.name} is up already`, "npm run lab -- down, or another --name");
  }
  const started = Date.now();
  const interrupted = new Promise<null>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => resolve(null));
  });
  heading(`A fleet of ${count} booted hosts`);
  const starting = bringUp(count);
  const ended = starting.then(perform).then(
    (code) => ({ code, broken: null }),
    (broken: Error) => ({ code: 1, broken }),
  );
  const end = await Promise.race([interrupted, ended]);
  if (end === null) return giveUp(starting);
  if (end.broken !== null) say(`\nThe lab failed: ${end.broken.message}`);
  say(`Took ${since(started)}.`);
  const isUp = (await Hosts.standing(values.name)) !== "none";
  if (isUp && (values.keep || !values.yes)) {
    await Hosts.keep(values.name);
    say(`\nIt stays up for a look: npm run lab -- ssh ${CONTROL}, and npm run lab -- down at the end.`);
    return end.code;
  }
  await clear(values.name);
  say("Everything this lab started has ended, and nothing of it is left on this machine.");
  return end.code;
}

async function bringUp(count: number): Promise<Lab> {
  say("building Belay's packages, unless they are there");
  const packages = await labPackages();
  const bad = values.bad ? { behaviour: "crash-after" as const, onlyRoles: ["proxy" as const] } : {};
  return Lab.start({
    name: values.name,
    hosts: count,
    version: FROM,
    releases: [{ version: STOP, ...bad }, { version: TO }],
    packages,
    // A crash after 5 s is seen only by those who watch longer than that.
    policy: { settle: values.bad ? "6s" : "2s" },
    keepBroken: values.keep,
    say,
  });
}

/** Clears up in the middle of anything. What is still being brought up fails when its hosts are gone, and makes no new ones. */
async function giveUp(starting: Promise<Lab>): Promise<number> {
  say("\nInterrupted: clearing up.");
  if ((await Hosts.standing(values.name)) !== "none") {
    await clear(values.name);
    await Promise.allSettled([starting]);
    await clear(values.name);
  }
  return INTERRUPTED;
}

async function perform(lab: Lab): Promise<number> {
  heading("The fleet, as its agents report it");
  await show(lab, ["host", "list"]);
  heading("The plan");
  const plan = await planTo(lab, TO);
  heading("The run");
  const approver = values.yes ? approveAll(lab) : null;
  const watch = ["run", "start", plan, "--watch", ...(values.yes ? [] : ["--prompt"])];
  const code = await live(lab, [...watch, ...(values.bad ? ["--exit-at-failure"] : [])]);
  await approver?.stop();
  heading("What every host runs, asked over its own shell");
  const running = await lab.whatRuns();
  for (const { host, version, ready } of running) {
    say(`  ${host.padEnd(12)} ${version ?? "nothing"}  ${ready ? "ready" : "NOT READY"}`);
  }
  if (values.bad) {
    await show(lab, ["why"]);
    return running.every(({ host, version, ready }) => ready && (!host.includes("proxy") || version === FROM)) ? 0 : 1;
  }
  const there = running.filter(({ version, ready }) => version === TO && ready).length;
  say(`${there} of ${running.length} hosts run ${TO} and are ready`);
  return code === 0 && there === running.length ? 0 : 1;
}

async function shell(name: string | undefined, command: readonly string[]): Promise<number> {
  const hosts = await Hosts.find(values.name);
  const machine = name === undefined ? undefined : hosts?.machines.get(name);
  if (machine === undefined) {
    const names = [...(hosts?.machines.keys() ?? [])].join(", ");
    return complain(
      `no host ${name ?? ""} of lab ${values.name} is up`,
      names === "" ? "npm run lab" : `up are ${names}`,
    );
  }
  const term = `TERM=${process.env.TERM ?? "dumb"}`;
  const token = "BELAY_TOKEN_FILE=/var/lib/belay/api-token";
  const wanted = command.length === 0 ? ["bash", "-i"] : command;
  const [file = "", ...args] = machine.enter(["env", term, token, "HOME=/root", ...wanted]);
  const child = spawn(file, args, { stdio: "inherit" });
  return new Promise((resolve) => child.once("close", (code) => resolve(code ?? 1)));
}

async function list(): Promise<number> {
  const hosts = await Hosts.find(values.name);
  for (const { name, address } of hosts?.machines.values() ?? []) say(`${name.padEnd(14)} ${address}`);
  if (hosts === null) say(`lab ${values.name} is not up`);
  return 0;
}

function complain(what: string, hint: string): number {
  process.stderr.write(`lab: ${what}\nhint: ${hint}\n`);
  return 1;
}
