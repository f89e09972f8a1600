import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Role } from "@belay/shared";
import { type ReleaseOptions, releaseFiles } from "../standin/build-release.js";
import type { DiaryLine } from "../standin/src/diary.js";
import {
  type ClusterOnDisk,
  diaryOf,
  type HostOnDisk,
  hostOf,
  installRelease,
  type Layout,
  layOutFleet,
  type StateServer,
  startService,
  stopEverything,
  stopServices,
  waitUntilReady,
} from "./index.js";

/** Longer than anything takes on a busy machine: a test that waits for it has failed. */
const PATIENCE_MS = 20_000;
const LOOK_AGAIN_MS = 50;
/** Short, because most tests only need a migration to be over; those that watch one ask for a long one. */
const SHORT_MIGRATION = { STANDIN_MIGRATION_MS: "100" };

interface Test {
  teardown(cleanUp: () => Promise<void>): void;
}

/** A fleet of real processes for one test, gone when the test ends. Hosts are named by their first role: `auth-1`. */
export class SmallFleet {
  readonly layout: Layout;

  private constructor(layout: Layout) {
    this.layout = layout;
  }

  static async layOut(t: Test, version: string, clusters: readonly ClusterOnDisk[]): Promise<SmallFleet> {
    const dir = await mkdtemp(join(tmpdir(), "belay-standin-"));
    const layout = await layOutFleet({ dir, version, clusters, controllerUrl: "http://127.0.0.1:1" });
    t.teardown(async () => {
      await stopEverything(layout);
      layout.ports.release();
      await rm(dir, { recursive: true });
    });
    return new SmallFleet(layout);
  }

  host(name: string): HostOnDisk {
    return hostOf(this.layout, name);
  }

  /** Starts services and waits until they are ready. */
  async start(...names: string[]): Promise<void> {
    for (const name of names) this.launch(name);
    await waitUntilReady(names.map((name) => this.host(name)));
  }

  /** Starts services and waits for nothing. */
  launch(name: string, env: Readonly<Record<string, string>> = {}): void {
    startService(this.host(name), { ...SHORT_MIGRATION, ...env });
  }

  stop(...names: string[]): Promise<void> {
    return stopServices(names.map((name) => this.host(name)));
  }

  /** Installs a release and leads the link to it; what runs goes on running. */
  async install(name: string, release: ReleaseOptions | string): Promise<void> {
    const options = typeof release === "string" ? { version: release } : release;
    await installRelease(this.host(name).install, options.version, await releaseFiles(options));
  }

  /** Stop, swap, start: what an upgrade does to one host. Waits for nothing after the start. */
  async replace(name: string, release: ReleaseOptions | string): Promise<void> {
    await this.stop(name);
    await this.install(name, release);
    this.launch(name);
  }

  /** Waits until the host's diary has so many lines of an event, and returns them. */
  async diary(name: string, event: DiaryLine["event"], count = 1): Promise<DiaryLine[]> {
    return until(`${count} x ${event} in the diary of ${name}`, async () => {
      const lines = (await diaryOf(this.layout, name)).filter((line) => line.event === event);
      return lines.length >= count ? lines : null;
    });
  }
}

/** One cluster with so many hosts of each role. */
export function cluster(
  name: string,
  counts: Partial<Record<Role, number>>,
  trusts?: string,
  state?: StateServer,
): ClusterOnDisk {
  const prefix = trusts === undefined ? "" : `${name}-`;
  const hosts = (["auth", "proxy", "node"] as const).flatMap((role) =>
    Array.from({ length: counts[role] ?? 0 }, (_, i) => ({ name: `${prefix}${role}-${i + 1}`, roles: [role] })),
  );
  return {
    name,
    ...(trusts === undefined ? {} : { trusts }),
    ...(state === undefined ? {} : { state }),
    hosts,
  };
}

/** Looks until `look` finds something (neither null nor false), and returns it. Throws after a long while. */
export async function until<T>(what: string, look: () => Promise<T | null | false> | T | null | false): Promise<T> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found !== null && found !== false) return found;
    if (Date.now() > deadline) throw new Error(`waited ${PATIENCE_MS} ms for ${what}`);
    await sleep(LOOK_AGAIN_MS);
  }
}
