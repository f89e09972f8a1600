import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync } from "node:fs";
import { basename, join } from "node:path";
import {
  type Agent,
  byToken,
  type JournalDisk,
  openJournalDisk,
  parseConfig,
  silentLogger,
  startAgent,
  systemExec,
} from "@belay/agent";
import type { BackupSpec, Op, OpOf, Outcome } from "@belay/shared";
import { RigBelayd, rigHttp } from "./belayd.js";
import { JournalTruth } from "./journal-truth.js";
import { quickClock } from "./quick-clock.js";
import { damageOf, installByHand, type Release } from "./releases.js";
import { linesOf, RigService, writeSafely } from "./service.js";

type Swap = OpOf<"swap">;
const KEEP_BACKUPS = 2;
const A_DAY_MS = 86_400_000;
const CHECKS = [{ kind: "http" as const, url: "http://127.0.0.1:1/readyz", status: 200, timeoutMs: 1000 }];
const PROBES = [
  { kind: "metric-label" as const, url: "http://127.0.0.1:1/metrics", metric: "build_info", label: "version" },
];

/**
 * One host, upgraded without end by the real agent, and what is known about it off its disks: what its agent has said, and
 * so must still be so after any power cut.
 */
export class RigHost {
  readonly name: string;
  readonly belayd = new RigBelayd();
  readonly #releases: readonly Release[];
  readonly #random: () => number;
  readonly #complain: (what: string) => void;
  readonly #stateDir: string;
  readonly #root: string;
  readonly #versionsDir: string;
  readonly #backupsDir: string;
  readonly #link: string;
  readonly #data: string;
  readonly #service: RigService;
  readonly #journal: JournalTruth;
  #agent: Agent | null = null;
  #disk: JournalDisk | null = null;
  /** What the link leads to, as long as no swap is open. */
  #linked: string;
  /** The version that was there before Belay came; null once it is pruned. */
  #byHand: string | null;
  /** Versions and backups that were reported as being there. */
  readonly #fetched = new Set<string>();
  readonly #kept = new Map<string, string>();
  #backups = 0;
  #boots = 0;
  /** Contents of the data that the open step may have found. */
  #contents = new Set<string>();

  constructor(
    name: string,
    disks: { state: string; data: string },
    world: { releases: readonly Release[]; random: () => number; complain: (what: string) => void },
  ) {
    this.name = name;
    this.#releases = world.releases;
    this.#random = world.random;
    this.#complain = (what) => world.complain(`${name}: ${what}`);
    this.#stateDir = join(disks.state, name, "state");
    this.#root = join(disks.data, name);
    this.#versionsDir = join(this.#root, "versions");
    this.#backupsDir = join(this.#root, "backups");
    this.#link = join(this.#root, "current");
    this.#data = join(this.#root, "data");
    this.#service = new RigService(this.#link, this.#data);
    this.#journal = new JournalTruth(join(this.#stateDir, "journal"));
    this.#linked = this.#any().version;
    this.#byHand = this.#linked;
  }

  /** The kind of step that it is at. */
  get doing(): string | undefined {
    return this.belayd.open?.op.kind;
  }

  /** As it was before Belay came. The caller syncs the disks. */
  layOut(): void {
    mkdirSync(this.#stateDir, { recursive: true });
    mkdirSync(this.#versionsDir, { recursive: true });
    installByHand(this.#release(this.#linked), join(this.#versionsDir, this.#linked));
    symlinkSync(join(this.#versionsDir, this.#linked), this.#link);
    writeSafely(this.#data, "");
    void this.#upgradeForEver();
  }

  /** The machine has power again, and nothing has run on it yet. */
  look(): void {
    const { open } = this.belayd;
    const swap = open?.op.kind === "swap" ? open.op : null;
    const linked = basename(readlinkSync(this.#link));
    if (linked !== this.#linked && linked !== swap?.to) {
      this.#complain(`the link leads to ${linked}, not to ${this.#linked}${swap === null ? "" : ` or ${swap.to}`}`);
    }
    const pruning = open?.op.kind === "prune";
    this.#lookAtVersions(pruning);
    this.#lookAtBackups(pruning);
    this.#lookAtData();
    this.#complainIf(this.#journal.ailment());
    if (open?.accepted === true && !readFileSync(join(this.#stateDir, "journal"), "utf8").includes(open.step)) {
      this.#complain(`${open.step} was accepted, and is not in the journal`);
    }
  }

  /** The service comes up as systemd would bring it up, then the agent. */
  async boot(): Promise<void> {
    this.#journal.off = false;
    this.belayd.deaf = false;
    this.#service.running = null;
    this.#service.comingUp = true;
    if (this.#random() < 0.7) this.#service.launch();
    this.#contents.add(this.#service.content);
    const file = join(this.#stateDir, "agent.yaml");
    const config = parseConfig(
      `controller: http://127.0.0.1:1\nhost: ${this.name}\ntokenFile: /dev/null\nstateDir: ${this.#stateDir}
directories: [${this.#root}]\nservices: { svc: { manager: systemd, unit: svc.service } }\n`,
      file,
    );
    this.#boots += 1;
    const clock = quickClock(this.#boots * A_DAY_MS);
    const disk = this.#journal.watch(await openJournalDisk(join(this.#stateDir, "journal")));
    this.#disk = disk;
    this.#agent = await startAgent({
      config,
      controller: byToken(config.controller, ""),
      clock,
      random: this.#random,
      dial: this.belayd.dial,
      http: rigHttp(this.#releases, this.#service),
      exec: systemExec,
      log: silentLogger,
      machine: { os: "linux", arch: "x64" },
      journalDisk: disk,
      env: {},
      leave: () => this.#complain("the agent wants to leave"),
      openServices: async () => new Map([["svc", this.#service]]),
    });
    this.#journal.opened();
  }

  /** From this very moment on nothing that it says is heard. */
  losePower(): void {
    this.#service.comingUp = false;
    this.#journal.off = true;
    this.belayd.deaf = true;
  }

  /** Lets go of everything on the dead disks. */
  async end(): Promise<void> {
    // What a machine without power still wants to write can't be written.
    if (this.#agent !== null) await this.#agent.stop().catch(() => {});
    else await this.#disk?.close().catch(() => {});
    this.#agent = null;
    this.#disk = null;
  }

  async #upgradeForEver(): Promise<void> {
    for (;;) {
      const release = this.#any();
      if (release.version === this.#linked) continue;
      while (!(await this.#fetch(release)));
      if (this.#random() < 0.5) await this.#backUp();
      await this.#swap(release);
      if (this.#random() < 0.2) await this.#restore();
      if (this.#random() < 0.6) await this.#prune();
    }
  }

  /** False: to be tried again. */
  #fetch({ version, sha256, tarball }: Release): Promise<boolean> {
    const op = {
      kind: "fetch" as const,
      version,
      source: `/v1/artifacts/${sha256}`,
      sha256,
      size: tarball.length,
      versionsDir: this.#versionsDir,
      strip: 1,
      maxUnpackedBytes: 10_000_000,
    };
    return this.#carryOut(op, (outcome) => {
      // The part of a download that a power cut damaged is thrown away, and the next attempt begins anew.
      if (outcome.status === "failed" && outcome.error.code === "download-damaged") return false;
      // What was laid out by hand has no manifest, and is not taken for the planned release.
      const byHand = outcome.status === "failed" && outcome.error.code === "version-dir-changed";
      if (byHand && version === this.#byHand) return true;
      this.#expect("done", outcome, `fetch ${version}`);
      this.#fetched.add(version);
      return true;
    });
  }

  #spec(): BackupSpec {
    this.#backups += 1;
    const items = [{ kind: "file" as const, path: this.#data, optional: false }];
    return { id: `b${this.#backups}`, dir: this.#backupsDir, version: this.#linked, items };
  }

  async #backUp(): Promise<void> {
    const spec = this.#spec();
    await this.#carryOut({ kind: "backup", spec }, (outcome) => {
      this.#expect("done", outcome, `backup ${spec.id}`);
      const content = this.#contentOf(spec.id);
      if (!this.#contents.has(content)) this.#complain(`backup ${spec.id} holds what was never there: ${content}`);
      this.#kept.set(spec.id, content);
    });
    await this.#carryOut({ kind: "verify-backup", dir: this.#backupsDir, id: spec.id }, (outcome) =>
      this.#expect("done", outcome, `verify ${spec.id}`),
    );
  }

  async #swap({ version: to, sha256 }: Release): Promise<void> {
    const snapshot = this.#random() < 0.4 ? this.#spec() : null;
    if (this.#random() < 0.3) this.#service.broken.add(to);
    const op: Swap = {
      kind: "swap",
      service: "svc",
      versionsDir: this.#versionsDir,
      link: this.#link,
      from: this.#linked,
      to,
      sha256: to === this.#byHand ? null : sha256,
      how: snapshot === null && this.#random() < 0.5 ? "reload" : "restart",
      version: PROBES,
      checks: CHECKS,
      settleMs: 100,
      startTimeoutMs: 200,
      stopTimeoutMs: 100,
      snapshot,
      revertTo: "running",
    };
    await this.#carryOut(op, (outcome) => this.#judgeSwap(op, outcome));
  }

  #judgeSwap({ from, to, snapshot }: Swap, outcome: Outcome): void {
    const broken = this.#service.broken.delete(to);
    const what = `swap from ${from} to ${to}${broken ? ", which is broken," : ""}`;
    this.#expect(broken ? "reverted" : "done", outcome, what);
    this.#linked = outcome.status === "done" ? to : from;
    const linked = basename(readlinkSync(this.#link));
    if (linked !== this.#linked) this.#complain(`${what} is ${outcome.status}, and the link leads to ${linked}`);
    if (this.#service.comingUp) this.#service.launch();
    const { running, written } = this.#service;
    if (running !== this.#linked) this.#complain(`${what} is ${outcome.status}, and ${running} runs`);
    const lines = linesOf(this.#data);
    const undone = outcome.status === "reverted" && snapshot !== null ? to : null;
    const lost = written.filter((line) => !lines.includes(line) && !line.startsWith(`${undone} `));
    if (lost.length > 0) this.#complain(`${what} is ${outcome.status}, and lost what was written: ${lost}`);
    this.#service.written = lines;
    if (snapshot !== null && outcome.status === "done") this.#kept.set(snapshot.id, this.#contentOf(snapshot.id));
  }

  async #restore(): Promise<void> {
    const [id] = [...this.#kept.keys()].slice(-1);
    if (id === undefined) return;
    // A power cut between the two brings the service up again.
    do {
      await this.#carryOut({ kind: "stop", service: "svc", timeoutMs: 100 }, (outcome) =>
        this.#expect("done", outcome, "stop"),
      );
    } while (!(await this.#restoreStopped(id)));
    const start = { kind: "start" as const, service: "svc", checks: CHECKS, settleMs: 10, timeoutMs: 100 };
    await this.#carryOut(start, (outcome) => this.#expect("done", outcome, "start"));
  }

  /** False: the service was not stopped. */
  #restoreStopped(id: string): Promise<boolean> {
    return this.#carryOut({ kind: "restore", service: "svc", dir: this.#backupsDir, id }, (outcome) => {
      const content = readFileSync(this.#data, "utf8");
      // Brought up by a boot in the middle of it, before or after the data were put back.
      if (outcome.status === "failed" && outcome.error.code === "service-running") {
        if (content.startsWith(this.#kept.get(id) ?? "")) this.#service.written = linesOf(this.#data);
        return false;
      }
      this.#expect("done", outcome, `restore ${id}`);
      // The service may have been brought up since, by a boot.
      if (!content.startsWith(this.#kept.get(id) ?? ""))
        this.#complain(`restore ${id} gave ${content}, not ${this.#kept.get(id)}`);
      this.#service.written = linesOf(this.#data);
      this.#service.content = content;
      return true;
    });
  }

  #prune(): Promise<void> {
    const op = {
      kind: "prune" as const,
      versionsDir: this.#versionsDir,
      link: this.#link,
      keep: [],
      backupsDir: this.#backupsDir,
      keepBackups: KEEP_BACKUPS,
    };
    return this.#carryOut(op, (outcome) => {
      this.#expect("done", outcome, "prune");
      for (const version of this.#fetched) if (version !== this.#linked) this.#fetched.delete(version);
      if (this.#byHand !== this.#linked) this.#byHand = null;
      const there = this.#backupsThere();
      for (const id of this.#kept.keys()) if (!there.includes(id)) this.#kept.delete(id);
    });
  }

  #carryOut<T>(op: Op, judge: (outcome: Outcome) => T): Promise<T> {
    this.#contents = new Set([this.#service.content]);
    return this.belayd.carryOut(op, judge);
  }

  #lookAtVersions(pruning: boolean): void {
    const there = readdirSync(this.#versionsDir).filter((name) => !name.startsWith("."));
    for (const name of there) this.#complainIf(damageOf(this.#release(name), join(this.#versionsDir, name)));
    for (const version of pruning ? [this.#linked] : [this.#linked, ...this.#fetched]) {
      if (!there.includes(version)) this.#complain(`version ${version} is gone`);
    }
  }

  #lookAtBackups(pruning: boolean): void {
    const there = this.#backupsThere();
    for (const id of there) {
      const content = this.#contentOf(id);
      const known = this.#kept.get(id);
      if (known !== undefined && known !== content) this.#complain(`backup ${id} holds ${content}, not ${known}`);
    }
    const gone = [...this.#kept.keys()].filter((id) => !there.includes(id));
    // Which are the newest, those of swaps that were undone included, is the agent's to say: it must leave enough of them.
    const tooMany = pruning ? there.length < Math.min(KEEP_BACKUPS, this.#kept.size) : gone.length > 0;
    if (tooMany) this.#complain(`backups ${gone} are gone`);
  }

  #backupsThere(): string[] {
    if (!existsSync(this.#backupsDir)) return [];
    return readdirSync(this.#backupsDir).filter((name) => !name.startsWith("."));
  }

  /** The data are as they were, or, while a step that restores is open, as they are to become. */
  #lookAtData(): void {
    const op = this.belayd.open?.op;
    const lines = linesOf(this.#data);
    const lost = this.#service.written.filter((line) => !lines.includes(line));
    const mayLose = (line: string) =>
      (op?.kind === "swap" && op.snapshot !== null && line.startsWith(`${op.to} `)) || op?.kind === "restore";
    const wrong = lost.filter((line) => !mayLose(line));
    if (wrong.length > 0) this.#complain(`data lost ${wrong} in ${op?.kind}`);
  }

  /** The one item of a backup, held to the backup's own manifest. */
  #contentOf(id: string): string {
    const dir = join(this.#backupsDir, id);
    try {
      const { items } = JSON.parse(readFileSync(join(dir, "manifest.json"), "utf8"));
      const content = readFileSync(join(dir, items[0].file));
      if (createHash("sha256").update(content).digest("hex") === items[0].sha256) return content.toString();
    } catch (error) {
      this.#complain(`backup ${id}: ${error}`);
      return "";
    }
    this.#complain(`backup ${id} is damaged`);
    return "";
  }

  #expect(status: Outcome["status"], outcome: Outcome, what: string): void {
    if (outcome.status !== status) this.#complain(`${what} is ${JSON.stringify(outcome)}`);
  }

  #complainIf(ailment: string | null): void {
    if (ailment !== null) this.#complain(ailment);
  }

  #any(): Release {
    return this.#releases[Math.floor(this.#random() * this.#releases.length)] as Release;
  }

  #release(version: string): Release {
    const found = this.#releases.find((each) => each.version === version);
    if (found === undefined) throw new Error(`nobody made a version ${version}`);
    return found;
  }
}
