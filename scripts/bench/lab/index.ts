import { whyNoHosts } from "../../lab/host/hosts.js";
import { loadNow } from "../machine.js";
import { figure, say, table } from "../screen.js";
import { median } from "../statistics.js";
import { ansibleVersion, byAnsible, FORKS } from "./ansible.js";
import { type BelayTimes, byBelay } from "./belay.js";
import { FROM, LabScene, NODES, SETTLE_SECONDS, TO } from "./scene.js";
import { byBareRestart, byShell } from "./shell.js";
import type { StageTimes } from "./times.js";

export type LabResult =
  | { readonly skipped: string }
  | {
      readonly skipped: null;
      readonly ansible: string | null;
      readonly rounds: readonly Round[];
    };

interface Round {
  readonly belay: BelayTimes;
  readonly shell: StageTimes;
  readonly careful: StageTimes;
  readonly ansible: StageTimes | null;
  readonly restart: StageTimes;
  readonly load: string;
}

const ROUNDS = 5;
const NAME = "bench";

/**
 * A whole node stage on booted hosts, by everybody in turn, so that what else the machine does hits all of them. Its hosts end
 * with it, also when it is interrupted.
 */
export async function benchLab(): Promise<LabResult> {
  const skipped = whyNoHosts();
  if (skipped !== null) return { skipped };
  const ansible = ansibleVersion();
  const interruption = interrupted();
  const opening = LabScene.open(NAME);
  try {
    const measuring = opening.then((scene) => measure(scene, ansible !== null));
    // Once it is interrupted, nobody waits for what its hosts' end makes of it.
    measuring.catch(() => {});
    return { skipped: null, ansible, rounds: await Promise.race([measuring, interruption]) };
  } finally {
    await (await opening).close();
  }
}

async function measure(scene: LabScene, hasAnsible: boolean): Promise<Round[]> {
  // Makes the one link out of plain files, and warms up.
  await byBelay(scene, FROM);
  await scene.reset();
  const rounds: Round[] = [];
  for (let number = 1; number <= ROUNDS; number += 1) {
    const measured = async <T extends StageTimes>(way: (scene: LabScene) => Promise<T>): Promise<T> => {
      await scene.reset();
      const times = await way(scene);
      await scene.check(TO);
      return times;
    };
    const belay = await measured((each) => byBelay(each));
    const shell = await measured((each) => byShell(each));
    const careful = await measured((each) => byShell(each, { careful: true }));
    const restart = await byBareRestart(scene, TO);
    const round = { belay, shell, careful, restart, ansible: hasAnsible ? await measured(byAnsible) : null };
    rounds.push({ ...round, load: loadNow() });
    say(`  round ${number} of ${ROUNDS}: ${JSON.stringify(round)}`);
  }
  return rounds;
}

/** Throws at the first signal to end. */
function interrupted(): Promise<never> {
  const signalled = new Promise<never>((_, reject) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.once(signal, () => reject(new Error(`ended by ${signal}; its hosts end with it`)));
    }
  });
  signalled.catch(() => {});
  return signalled;
}

export function showLab(result: LabResult): string[] {
  if (result.skipped !== null) return [`lab: ${result.skipped}`];
  const { rounds, ansible } = result;
  const ways: [string, (round: Round) => StageTimes | null][] = [
    ["Belay", ({ belay }) => belay],
    ["shell over ssh", ({ shell }) => shell],
    ["shell, as careful", ({ careful }) => careful],
    [`Ansible, ${FORKS} forks`, (round) => round.ansible],
    ["bare restart", ({ restart }) => restart],
  ];
  const rows = ways.flatMap(([name, of]) => {
    const times = rounds.map(of).filter((each) => each !== null);
    if (times.length === 0) return [];
    const middle = (what: keyof StageTimes) => figure(median(times.map((each) => each[what])));
    const all = times.map(({ wholeMs }) => figure(wholeMs)).join(" ");
    return [[`  ${name}`, middle("wholeMs"), middle("cutOverMs"), middle("slowestHostMs"), all]];
  });
  const stages = rounds[0]?.belay.stages.map(({ stage }, index) => {
    const ms = median(rounds.map(({ belay }) => belay.stages[index]?.ms ?? 0));
    return `${stage} ${figure(ms)}`;
  });
  return [
    `a stage of ${NODES} nodes from ${FROM} to ${TO}, 50 MB each, ${SETTLE_SECONDS} s to settle (${ansible ?? "no Ansible here"})`,
    ...table([
      ["  medians, ms", "whole stage", "cut-over of all", "of the slowest", "whole stage, each round"],
      ...rows,
    ]),
    `  Belay's stages, ms: ${stages?.join(", ")}; the last of them is not in its whole stage`,
    `  load after each round: ${rounds.map(({ load }) => load.split(" ")[0]).join(" ")}`,
  ];
}
