import { cpus, loadavg, totalmem } from "node:os";
import { figure } from "./screen.js";

/** Where the figures come from: without it they mean nothing. */
export interface Machine {
  readonly cores: number;
  readonly cpu: string;
  readonly memoryGiB: number;
  readonly node: string;
  readonly platform: string;
  /** Load averages over 1, 5 and 15 minutes when the bench began: above 0 means that others worked here too. */
  readonly load: readonly number[];
}

export function readMachine(): Machine {
  const all = cpus();
  return {
    cores: all.length,
    cpu: all[0]?.model.trim() ?? "unknown",
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.versions.node,
    platform: `${process.platform} ${process.arch}`,
    load: loadavg().map((load) => Math.round(load * 100) / 100),
  };
}

export function showMachine({ cores, cpu, memoryGiB, node, platform, load }: Machine): string[] {
  return [
    `machine: ${cores} cores (${cpu}), ${memoryGiB} GiB, ${platform}, Node ${node}`,
    `load at the start: ${load.map((each) => figure(each, 2)).join(" ")} (others share the machine when this is not near 0)`,
  ];
}

export function loadNow(): string {
  return loadavg()
    .map((each) => figure(each, 2))
    .join(" ");
}
