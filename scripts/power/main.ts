import { parseArgs } from "node:util";
import { FORGETTABLE, type Forgotten } from "../../test/power/rig/calls.js";
import { runCampaign, type Told, whyNoPowerCuts } from "../../test/power/rig/campaign.js";
import { FILE_SYSTEMS, type FileSystem } from "../../test/power/rig/disk.js";
import { ATTACKS, killAtEachCall, whyNoSyscallKills } from "../../test/power/rig/syscalls.js";

const HELP = `npm run power -- [--of WHAT] [--cuts N] [--seed N] [--fs ext4,xfs] [--machines N] [--forget KIND] [--syscalls]

Cuts the power of hosts that the agent upgrades, and looks after each cut whether everything is as it was promised.

  --of WHAT      of these hosts, or of a machine with belayd's audit-log (hosts)
  --cuts N       how often, over all file systems (2000)
  --seed N       where and when, as far as chance decides (the time of day)
  --fs LIST      on which file systems (${FILE_SYSTEMS.join(",")})
  --machines N   how many at a time (one for each processor)
  --forget KIND  leave out ${FORGETTABLE.join(", ")}: to see that it is noticed
  --syscalls     cut no power, but kill an agent at every system call around a swap

Exit code 1: something was lost or broken. Each complaint names a seed that, with its file system, leads near it again.`;

async function main(argv: string[]): Promise<number> {
  const { values } = parseArgs({
    args: argv,
    options: {
      cuts: { type: "string", default: "2000" },
      seed: { type: "string", default: `${Math.floor(Date.now() / 1000)}` },
      fs: { type: "string", default: FILE_SYSTEMS.join(",") },
      machines: { type: "string" },
      forget: { type: "string" },
      of: { type: "string", default: "hosts" },
      syscalls: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const fileSystems = values.fs.split(",");
  const { forget, of } = values;
  const numbers = [values.cuts, values.seed, values.machines ?? "1"];
  if (
    values.help ||
    !fileSystems.every(isFileSystem) ||
    !(forget === undefined || isForgettable(forget)) ||
    !(of === "hosts" || of === "audit-log") ||
    !numbers.every((text) => /^[1-9][0-9]{0,14}$/.test(text))
  ) {
    say(HELP);
    return values.help ? 0 : 2;
  }
  if (values.syscalls) return killEverywhere();
  const why = whyNoPowerCuts();
  if (why !== null) {
    say(`power: not here: ${why}`);
    return 2;
  }
  const cuts = Number(values.cuts);
  let done = 0;
  const heard = (told: Told) => {
    if (told.complaint !== undefined) say(`WRONG  ${JSON.stringify(told)}`);
    else {
      done += told.cuts;
      say(`${done} of ${cuts} cuts (${told.fs}, ${told.disks === 1 ? "one disk" : "two disks"}, seed ${told.seed})`);
    }
  };
  const {
    complaints,
    cuts: made,
    adoptions,
    seconds,
  } = await runCampaign({
    cuts,
    seed: Number(values.seed),
    fileSystems,
    ...(values.machines === undefined ? {} : { machines: Number(values.machines) }),
    ...(forget === undefined ? {} : { forget }),
    of: of === "audit-log" ? of : "hosts",
    heard,
  });
  if (of === "hosts") say(`${adoptions.ext4} and ${adoptions.xfs} of them as a host was being adopted, or given back`);
  say(
    `${made.ext4} power cuts on ext4 and ${made.xfs} on XFS in ${Math.round(seconds)} s: ${complaints.length} complaints`,
  );
  return complaints.length === 0 ? 0 : 1;
}

async function killEverywhere(): Promise<number> {
  const why = whyNoSyscallKills();
  if (why !== null) {
    say(`power: not here: ${why}`);
    return 2;
  }
  let wrong = 0;
  for (const attack of ATTACKS) {
    const { calls, kills, complaints } = await killAtEachCall(attack, { stride: 1, heard: say });
    wrong += complaints.length;
    say(`${attack.name}: killed at ${kills} of ${calls} calls: ${complaints.length} complaints`);
  }
  return wrong === 0 ? 0 : 1;
}

function isFileSystem(text: string): text is FileSystem {
  return (FILE_SYSTEMS as readonly string[]).includes(text);
}

function isForgettable(text: string): text is Forgotten {
  return (FORGETTABLE as readonly string[]).includes(text);
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

process.exitCode = await main(process.argv.slice(2));
