import { BelayError, errorInfo, type FactProbe } from "@belay/shared";
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
  #known: { version: string; build: Build } | null = null;

  async buildOf(probe: FactProbe, installed: string | null, host: Host): Promise<Build> {
    const { banner, link } = probe;
    if (banner === undefined || installed === null) return UNKNOWN_BUILD;
    if (this.#known?.version === installed) return this.#known.build;
    try {
      if (!banner.program.startsWith(`${link}/`) || banner.program.includes("/../")) {
        throw new BelayError("path-refused", `${banner.program} does not lie below ${link}`);
      }
      const { code, stdout } = await host.exec.run([banner.program, "version"], { timeoutMs: BANNER_TIMEOUT_MS });
      if (code !== 0) throw new BelayError("banner-failed", `${banner.program} version ends with ${code}`);
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
