import { mkdirSync, readFileSync, readlinkSync, symlinkSync } from "node:fs";
import { basename, join } from "node:path";
import { type Agent, type Exec, type JournalDisk, openJournalDisk, systemExec, unmanage } from "@belay/agent";
import type { BackupSpec, Op, OpOf, Outcome } from "@belay/shared";
import { startRigAgent } from "./agent.js";
import { BackupsTruth, KEEP_BACKUPS } from "./backups-truth.js";
import { RigBelayd, rigHttp } from "./belayd.js";
import { type CallWatcher, watchExec } from "./calls.js";
import { JournalTruth } from "./journal-truth.js";
import { Names } from "./names.js";
import type { PowerSwitch } from "./power-switch.js";
import { installByHand, PROGRAMS, type Release, releaseOf } from "./releases.js";
import { linesOf, RigService, writeSafely } from "./service.js";
import { VersionsTruth } from "./versions-truth.js";

type Swap = OpOf<"swap">;
const CHECKS = [{ kind: "http" as const, url: "http://127.0.0.1:1/readyz", status: 200, timeoutMs: 1000 }];
const PROBES = [
  { kind: "metric-label" as const, url: "http://127.0.0.1:1/metrics", metric: "build_info", label: "version" },
];

export interface HostWorld {
  releases: readonly Release[];
  power: PowerSwitch;
  random: () => number;
  complain: (what: string) => void;
  calls: CallWatcher;
}

/**
 * One host, upgraded without end by the real agent, and what is known about it off its disks: what its agent has said, and
 * so must still be so after any power cut.
 */
export class RigHost {
  readonly name: string;
  readonly belayd = new RigBelayd();
  readonly #world: HostWorld;
  readonly #releases: readonly Release[];
  readonly #random: () => number;
  readonly #complain: (what: string) => void;
  readonly #stateDir: string;
  readonly #root: string;
  readonly #link: string;
  readonly #data: string;
  readonly #service: RigService;
  readonly #journal: JournalTruth;
  readonly #versions: VersionsTruth;
  readonly #kept: BackupsTruth;
  /** Null: its service is started through the link, and was so before Belay came. */
  readonly #names: Names | null;
  #agent: Agent | null = null;
  #disk: JournalDisk | null = null;
  /** What is installed, as long as no swap is open. */
  #linked: string;
  #backups = 0;
  #boots = 0;
  /** Contents of the data that the open step may have found. */
  #contents = new Set<string>();
  /** Whoever waits for the power to be back. */
  #waiting: (() => void)[] = [];

  /** `byName`: it was installed without Belay, as plain files. */
  constructor(name: string, disks: { state: string; data: string }, world: HostWorld, { byName }: { byName: boolean }) {
    this.name = name;
    this.#world = world;
    this.#releases = world.releases;
    this.#random = world.random;
    this.#complain = (what) => world.complain(`${name}: ${what}`);
    this.#stateDir = join(disks.state, name, "state");
    this.#root = join(disks.data, name);
    this.#link = join(this.#root, "current");
    this.#data = join(this.#root, "data");
    this.#kept = new BackupsTruth(join(this.#root, "backups"), this.#complain);
    this.#journal = new JournalTruth(join(this.#stateDir, "journal"));
    this.#linked = this.#any().version;
    const below = byName && this.#random() < 0.5 ? "bin" : "";
    const programs = this.#random() < 0.7 ? PROGRAMS : PROGRAMS.slice(0, 1);
    const versions = { dir: join(this.#root, "versions"), below, adopted: byName ? programs : null };
    this.#versions = new VersionsTruth(versions, { releases: world.releases, complain: this.#complain });
    if (!byName) this.#versions.byHand = this.#linked;
    this.#names = byName ? this.#someNames(programs, disks) : null;
    this.#service = new RigService(() => this.#installed(), this.#data);
  }

  #someNames(programs: readonly string[], disks: { state: string; data: string }): Names {
    // On another file system than the versions, if there is one: then nothing can be a hard link.
    const dir = join(this.#random() < 0.6 ? disks.state : disks.data, this.name, "names");
    const { dir: versionsDir, below } = this.#versions;
    return new Names({ dir, programs, below, link: this.#link, versionsDir, stateDir: this.#stateDir }, this.#world);
  }

  /** The kind of step that it is at; what adopts a host, or takes Belay out of it, is more than its kind of step. */
  get doing(): string | undefined {
    const op = this.belayd.open?.op;
    return this.#names?.doing(op) ?? op?.kind;
  }

  get isByName(): boolean {
    return this.#names !== null;
  }

  /** As it was before Belay came. The caller syncs the disks. */
  layOut(): void {
    mkdirSync(this.#stateDir, { recursive: true });
    mkdirSync(this.#versions.dir, { recursive: true });
    const release = releaseOf(this.#releases, this.#linked);
    if (this.#names !== null) this.#names.layOut(release);
    else {
      installByHand(release, join(this.#versions.dir, this.#linked));
      symlinkSync(join(this.#versions.dir, this.#linked), this.#link);
    }
    writeSafely(this.#data, "");
    void this.#upgradeForEver();
  }

  /** The machine has power again, and nothing has run on it yet. */
  look(): void {
    const { open } = this.belayd;
    const swap = open?.op.kind === "swap" ? open.op : null;
    const linked = this.#installed();
    if (linked !== this.#linked && linked !== swap?.to) {
      this.#complain(`${linked} is installed, not ${this.#linked}${swap === null ? "" : ` or ${swap.to}`}`);
    }
    this.#lookAtNames();
    const prune = open?.op.kind === "prune";
    this.#versions.look(this.#needed(), { swap: swap !== null, prune });
    this.#kept.look(prune);
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
    this.#boots += 1;
    const disk = this.#journal.watch(await openJournalDisk(join(this.#stateDir, "journal")));
    this.#disk = disk;
    const directories = [this.#root, ...(this.#names === null ? [] : [this.#names.entry.dir])];
    this.#agent = await startRigAgent(
      { name: this.name, stateDir: this.#stateDir, directories, service: this.#service, boots: this.#boots },
      {
        random: this.#random,
        dial: this.belayd.dial,
        http: rigHttp(this.#releases, this.#service),
        exec: this.#exec(),
        journalDisk: disk,
        leave: () => this.#complain("the agent wants to leave"),
      },
    );
    this.#journal.opened();
    for (const goOn of this.#waiting.splice(0)) goOn();
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
    await this.#names?.letGo();
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
      if (this.#names?.standing === "links" && this.#random() < 0.7) await this.#unmanage(this.#names);
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
      versionsDir: this.#versions.dir,
      strip: 1,
      maxUnpackedBytes: 10_000_000,
      ...(this.#versions.below === "" ? {} : { below: this.#versions.below }),
    };
    return this.#carryOut(op, (outcome) => {
      // The part of a download that a power cut damaged is thrown away, and the next attempt begins anew.
      if (outcome.status === "failed" && outcome.error.code === "download-damaged") return false;
      // What was laid out by hand has no manifest, or one of no artifact, and is not taken for the planned release.
      const strange = this.#names === null ? "version-dir-changed" : "digest-mismatch";
      const byHand = outcome.status === "failed" && outcome.error.code === strange;
      if (byHand && version === this.#versions.byHand) return true;
      this.#expect("done", outcome, `fetch ${version}`);
      this.#versions.fetched(version);
      return true;
    });
  }

  #spec(): BackupSpec {
    this.#backups += 1;
    const items = [{ kind: "file" as const, path: this.#data, optional: false }];
    return { id: `b${this.#backups}`, dir: this.#kept.dir, version: this.#linked, items };
  }

  async #backUp(): Promise<void> {
    const spec = this.#spec();
    await this.#carryOut({ kind: "backup", spec }, (outcome) => {
      this.#expect("done", outcome, `backup ${spec.id}`);
      const content = this.#kept.keep(spec.id);
      if (!this.#contents.has(content)) this.#complain(`backup ${spec.id} holds what was never there: ${content}`);
    });
    await this.#carryOut({ kind: "verify-backup", dir: this.#kept.dir, id: spec.id }, (outcome) =>
      this.#expect("done", outcome, `verify ${spec.id}`),
    );
  }

  async #swap({ version: to, sha256 }: Release): Promise<void> {
    const snapshot = this.#random() < 0.4 ? this.#spec() : null;
    if (this.#random() < 0.3) this.#service.broken.add(to);
    const op: Swap = {
      kind: "swap",
      service: "svc",
      versionsDir: this.#versions.dir,
      link: this.#link,
      ...(this.#names === null ? {} : { entry: this.#names.entry }),
      from: this.#linked,
      to,
      sha256: to === this.#versions.byHand ? null : sha256,
      how: snapshot === null && this.#random() < 0.5 ? "reload" : "restart",
      version: PROBES,
      checks: CHECKS,
      settleMs: 100,
      startTimeoutMs: 200,
      stopTimeoutMs: 100,
      snapshot,
      revertTo: "running",
    };
    this.#names?.swapBegins(op.from);
    const makes = this.#names?.standing === "files" && !this.#versions.has(op.from);
    if (makes) this.#versions.byHand = op.from;
    await this.#carryOut(op, (outcome) => {
      if (outcome.status === "done" && this.#names !== null) this.#names.standing = "links";
      if (outcome.status === "reverted" && makes) this.#versions.givenBack(op.from);
      this.#judgeSwap(op, outcome);
    });
  }

  #judgeSwap({ from, to, snapshot }: Swap, outcome: Outcome): void {
    const broken = this.#service.broken.delete(to);
    const what = `swap from ${from} to ${to}${broken ? ", which is broken," : ""}`;
    this.#expect(broken ? "reverted" : "done", outcome, what);
    this.#linked = outcome.status === "done" ? to : from;
    const linked = this.#installed();
    if (linked !== this.#linked) this.#complain(`${what} is ${outcome.status}, and ${linked} is installed`);
    this.#lookAtNames();
    this.#versions.look(this.#needed(), { swap: false, prune: false });
    if (this.#service.comingUp) this.#service.launch();
    const { running, written } = this.#service;
    if (running !== this.#linked) this.#complain(`${what} is ${outcome.status}, and ${running} runs`);
    const lines = linesOf(this.#data);
    const undone = outcome.status === "reverted" && snapshot !== null ? to : null;
    const lost = written.filter((line) => !lines.includes(line) && !line.startsWith(`${undone} `));
    if (lost.length > 0) this.#complain(`${what} is ${outcome.status}, and lost what was written: ${lost}`);
    this.#service.written = lines;
    if (snapshot !== null && outcome.status === "done") this.#kept.keep(snapshot.id);
  }

  async #unmanage(names: Names): Promise<void> {
    const world = { stateDir: this.#stateDir, exec: this.#exec(), signal: new AbortController().signal };
    const boots = () => ({ count: this.#boots, off: this.belayd.deaf });
    const next = () => new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#complainIf(await names.takeOut(() => unmanage("svc", world), { boots, next }));
    this.#lookAtNames();
  }

  async #restore(): Promise<void> {
    const backup = this.#kept.newest();
    if (backup === null) return;
    // A power cut between the two brings the service up again.
    do {
      await this.#carryOut({ kind: "stop", service: "svc", timeoutMs: 100 }, (outcome) =>
        this.#expect("done", outcome, "stop"),
      );
    } while (!(await this.#restoreStopped(backup)));
    const start = { kind: "start" as const, service: "svc", checks: CHECKS, settleMs: 10, timeoutMs: 100 };
    await this.#carryOut(start, (outcome) => this.#expect("done", outcome, "start"));
  }

  /** False: the service was not stopped. */
  #restoreStopped({ id, content: kept }: { id: string; content: string }): Promise<boolean> {
    return this.#carryOut({ kind: "restore", service: "svc", dir: this.#kept.dir, id }, (outcome) => {
      const content = readFileSync(this.#data, "utf8");
      // Brought up by a boot in the middle of it, before or after the data were put back.
      if (outcome.status === "failed" && outcome.error.code === "service-running") {
        if (content.startsWith(kept)) this.#service.written = linesOf(this.#data);
        return false;
      }
      this.#expect("done", outcome, `restore ${id}`);
      // The service may have been brought up since, by a boot.
      if (!content.startsWith(kept)) this.#complain(`restore ${id} gave ${content}, not ${kept}`);
      this.#service.written = linesOf(this.#data);
      this.#service.content = content;
      return true;
    });
  }

  #prune(): Promise<void> {
    const op = {
      kind: "prune" as const,
      versionsDir: this.#versions.dir,
      link: this.#link,
      keep: [],
      backupsDir: this.#kept.dir,
      keepBackups: KEEP_BACKUPS,
    };
    return this.#carryOut(op, (outcome) => {
      this.#expect("done", outcome, "prune");
      this.#versions.pruned(this.#needed());
      this.#kept.pruned();
    });
  }

  #carryOut<T>(op: Op, judge: (outcome: Outcome) => T): Promise<T> {
    this.#contents = new Set([this.#service.content]);
    return this.belayd.carryOut(op, judge);
  }

  /** What a start would start. */
  #installed(): string {
    return this.#names === null ? basename(readlinkSync(this.#link)) : (this.#names.version() ?? "nothing whole");
  }

  /** The version whose folder something leads to, as long as nothing is open that changes it. */
  #needed(): string | null {
    return this.#names?.standing === "files" ? null : this.#linked;
  }

  #lookAtNames(): void {
    const ailments = this.#names?.ailments(this.#linked, this.belayd.open?.op) ?? [];
    for (const ailment of ailments) this.#complain(ailment);
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

  #exec(): Exec {
    return watchExec(this.#names?.exec() ?? systemExec, this.#world.calls, this.#random);
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
}
