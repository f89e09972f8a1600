import { stat } from "node:fs/promises";
import { basename, join, normalize } from "node:path";
import { BelayError, errorInfo, type FactProbe, parseVersion } from "@belay/shared";
import { present } from "../durable.js";
import type { Host } from "../host.js";

/** Which build of a release a host has: it must get the same one when it is upgraded. */
export interface Build {
  edition: string;
  fips: boolean;
}

const UNKNOWN_BUILD: Build = { edition: "oss", fips: false };
/** A large binary is slow to start when its pages come from a cold disk. */
const BANNER_TIMEOUT_MS = 10_000;

/**
 * Asks the installed binary itself which build it is. Asked once for each installed version: facts are told often, and
 * starting an 800 MB binary is not free. A binary that does not answer is noted, and counts as the open source build.
 */
export class Banner {
  /** What plain files said, by path; asked again when the file is another. */
  readonly #files = new Map<string, { seen: string; version: string | null }>();
  #known: { version: string; build: Build } | null = null;

  /** The version a program says it is, run with the one argument `version`. Null: it does not say. */
  async versionOf(file: string, host: Pick<Host, "exec" | "log">): Promise<string | null> {
    // What is put in a file's place may have its times, and get its number, too: only what nobody can set tells them apart.
    const { ino, size, ctimeNs } = await stat(file, { bigint: true });
    const seen = `${ino} ${size} ${ctimeNs}`;
    const known = this.#files.get(file);
    if (known?.seen === seen) return known.version;
    try {
      const { stdout } = await host.exec.run([file, "version"], { timeoutMs: BANNER_TIMEOUT_MS });
      const words = stdout.split(/\s+/).map((word) => parseVersion(word));
      const version = words.find((word) => word !== null) ?? null;
      this.#files.set(file, { seen, version });
      return version;
    } catch (error) {
      host.log.warn({ file, error: errorInfo(error) }, "an installed program does not say its version");
      return null;
    }
  }

  async buildOf(probe: FactProbe, installed: string | null, host: Host): Promise<Build> {
    const { banner, link, entry } = probe;
    if (banner === undefined || installed === null) return UNKNOWN_BUILD;
    if (this.#known?.version === installed) return this.#known.build;
    try {
      const behind = normalize(banner.program);
      if (!behind.startsWith(`${link}/`)) {
        throw new BelayError("path-refused", `${banner.program} does not lie below ${link}`);
      }
      // Before its first swap a host may have no link: then what is started by name is what is installed.
      const isNamed = entry?.programs.includes(basename(behind)) ?? false;
      const named = entry === undefined || !isNamed ? behind : join(entry.dir, basename(behind));
      const program = await host.allowed.program((await present(behind)) ? behind : named, probe.versionsDir);
      const { code, stdout } = await host.exec.run([program, "version"], { timeoutMs: BANNER_TIMEOUT_MS });
      if (code !== 0) throw new BelayError("banner-failed", `${program} version ends with ${code}`);
      const build = {
        edition: banner.editions.find(({ says }) => stdout.includes(says))?.edition ?? UNKNOWN_BUILD.edition,
        fips: stdout.includes(banner.fips),
      };
      this.#known = { version: installed, build };
      return build;
    } catch (error) {
      host.log.warn({ error: errorInfo(error) }, "the installed binary does not say which build it is");
      return UNKNOWN_BUILD;
    }
  }
}
