import { BelayError } from "@belay/shared";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { releaseLines } from "../render/release.js";

export const releaseShow: CommandSpec = {
  name: "show <version>",
  summary: "show a release: its artifacts, and what speaks against it",
  examples: ["belay release show 6.2.31"],
  async run(session, _options, [named = ""]) {
    const { api } = await session.connect();
    const version = named.replace(/^v/, "");
    const release = (await api.releases()).find((candidate) => candidate.version === version);
    if (release === undefined) {
      throw new BelayError("release-unknown", `belayd knows no release ${version}`, {
        hint: "belay release list shows them; belay release add FILE adds one.",
      });
    }
    session.answer(release, (view) => releaseLines(view, session.style));
    return EXIT.ok;
  },
};
