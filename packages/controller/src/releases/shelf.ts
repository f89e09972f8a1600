import type { Readable } from "node:stream";
import { BelayError } from "@belay/shared";
import type { ReleaseView } from "../api/contract.js";
import type { Advisory, RecordStore, StoredArtifact } from "../store/records.js";
import type { ArtifactStore } from "./artifacts.js";
import type { Catalogue, Release } from "./catalogue.js";
import { nameRelease, type ReleaseName, versionNamed } from "./name.js";
import { inspectTarball, readFileName } from "./tarball.js";

/**
 * All releases that belayd knows of: those of releases.yaml, those that people added, and what people and runs have said
 * of them since.
 */
export class Shelf {
  readonly #records: RecordStore;
  readonly #artifacts: ArtifactStore;
  readonly #declared: () => Promise<Catalogue>;
  readonly #now: () => number;

  constructor(parts: {
    records: RecordStore;
    artifacts: ArtifactStore;
    /** releases.yaml as it is now; empty when there is none. */
    declared: () => Promise<Catalogue>;
    now: () => number;
  }) {
    this.#records = parts.records;
    this.#artifacts = parts.artifacts;
    this.#declared = parts.declared;
    this.#now = parts.now;
  }

  /** The catalogue that plans for a product are made from. releases.yaml is of the fleet's own. */
  async catalogue(product: string): Promise<Catalogue> {
    const { releases } = await this.#everything();
    return {
      releases: releases.flatMap((release) => {
        const version = versionNamed(release.version, product);
        return version === null ? [] : [{ ...release, version }];
      }),
    };
  }

  /** All releases of all products, each under its name. */
  async #everything(): Promise<Catalogue> {
    const [declared, added, advisories] = await Promise.all([
      this.#declared(),
      this.#records.artifacts(),
      this.#records.advisories(),
    ]);
    const releases = new Map<string, Release>(declared.releases.map((release) => [release.version, release]));
    for (const { version, ...artifact } of added) {
      const release = releases.get(version) ?? { version, artifacts: [] };
      if (release.artifacts.some(({ sha256 }) => sha256 === artifact.sha256)) continue;
      releases.set(version, { ...release, artifacts: [...release.artifacts, artifact] });
    }
    for (const { version, kind, reason } of advisories) {
      const release = releases.get(version) ?? { version, artifacts: [] };
      releases.set(version, { ...release, [kind]: reason });
    }
    return { releases: [...releases.values()] };
  }

  /** What speaks against a release now; empty for one that nobody knows. */
  async advisoriesOf(name: ReleaseName): Promise<{ code: "release-blocked" | "release-suspect"; reason: string }[]> {
    const release = (await this.#everything()).releases.find(({ version }) => version === nameRelease(name));
    return [
      ...(release?.blocked === undefined ? [] : [{ code: "release-blocked" as const, reason: release.blocked }]),
      ...(release?.suspect === undefined ? [] : [{ code: "release-suspect" as const, reason: release.suspect }]),
    ];
  }

  async list(): Promise<ReleaseView[]> {
    const { releases } = await this.#everything();
    return Promise.all(
      releases.map(async (release) => ({
        version: release.version,
        blocked: release.blocked ?? null,
        suspect: release.suspect ?? null,
        artifacts: await Promise.all(
          release.artifacts.map(async (artifact) => ({
            ...artifact,
            stored: (await this.#artifacts.sizeOf(artifact.sha256)) === artifact.size,
          })),
        ),
      })),
    );
  }

  /** Throws `release-unknown`. */
  async get(version: string): Promise<ReleaseView> {
    const release = (await this.list()).find((candidate) => candidate.version === version);
    if (release === undefined) {
      throw new BelayError("release-unknown", `no release ${version}`, { hint: "`belay release list` shows them." });
    }
    return release;
  }

  /**
   * Takes a release file in: name, digest and content are checked, and a wrong byte leaves nothing behind. Idempotent for
   * the same file. Throws `release-name`, `artifact-digest`, `release-malformed`, `artifact-differs`.
   */
  async add(file: string, sha256: string, body: Readable): Promise<ReleaseView> {
    const { product, version, ...named } = readFileName(file);
    const name = nameRelease({ product, version });
    const known = (await this.#artifacts.sizeOf(sha256)) !== null;
    const size = await this.#artifacts.put(body, sha256);
    const artifact: StoredArtifact = { ...named, version: name, size, sha256 };
    try {
      await this.#refuseOtherDigest(artifact);
      await inspectTarball(this.#artifacts.pathOf(sha256), { product, version, arch: named.arch });
      await this.#records.addArtifact(artifact, this.#now());
    } catch (error) {
      if (!known) await this.#artifacts.remove(sha256);
      throw error;
    }
    return this.get(name);
  }

  /** Blocks, unblocks, or clears a release of suspicion. Idempotent. */
  async block(version: string, by: string, reason: string): Promise<ReleaseView> {
    await this.#records.advise({ version, kind: "blocked", reason, by, at: this.#now() });
    return this.get(version);
  }

  /** A fleet was rolled back from it: nobody should try again before somebody has looked. Idempotent. */
  async suspect(name: ReleaseName, by: string, reason: string): Promise<void> {
    await this.#records.advise({ version: nameRelease(name), kind: "suspect", reason, by, at: this.#now() });
  }

  async clear(version: string, kind: Advisory["kind"]): Promise<ReleaseView> {
    const { releases } = await this.#declared();
    if (
      kind === "blocked" &&
      releases.some((release) => release.version === version && release.blocked !== undefined)
    ) {
      throw new BelayError("release-blocked", `releases.yaml blocks ${version}`, { hint: "Take it out there." });
    }
    await this.#records.clearAdvisory(version, kind);
    return this.get(version);
  }

  /** Where releases.yaml says what the bytes of a file are, other bytes are refused. */
  async #refuseOtherDigest(artifact: StoredArtifact): Promise<void> {
    const { releases } = await this.#declared();
    for (const release of releases) {
      for (const declared of release.artifacts) {
        if (declared.file !== artifact.file || declared.sha256 === artifact.sha256) continue;
        throw new BelayError("artifact-differs", `releases.yaml gives ${artifact.file} another digest`, {
          hint: "One of them is wrong: compare both with the publisher's .sha256.",
          context: { declared: declared.sha256, offered: artifact.sha256 },
        });
      }
    }
  }
}
