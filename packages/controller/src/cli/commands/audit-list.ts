import { BelayError } from "@belay/shared";
import { parseDuration } from "../../inventory/duration.js";
import { type CommandSpec, LIMIT } from "../command.js";
import { EXIT } from "../exit.js";
import { auditListing } from "../render/audit.js";

interface ListOptions {
  readonly since?: string;
  readonly until?: string;
  readonly who?: string;
  readonly action?: string;
  readonly run?: string;
  readonly host?: string;
  readonly before?: number;
  readonly limit: number;
}

export const auditList: CommandSpec<ListOptions> = {
  name: "list",
  summary: "list entries of the audit log, the newest first",
  options: [
    { flags: "--since <time>", about: "not older: a time (2026-11-23T20:00:00Z), or how long ago (24h, 7d)" },
    { flags: "--until <time>", about: "not newer, in the same way" },
    { flags: "--who <name>", about: "only what this person, host or belayd did" },
    { flags: "--action <word>", about: "only this: run-start, gate-approve, ..." },
    { flags: "--run <run>", about: "only about this run" },
    { flags: "--host <host>", about: "only about this host" },
    { flags: "--before <entry>", about: "only before this entry: where the page before ended", most: 2 ** 50 },
    LIMIT,
  ],
  notes:
    "A command is there twice: asked, before anything was done, and done or refused. With --json: entries, and `next` for --before.",
  examples: [
    "belay audit list --since 24h",
    "belay audit list --who mia --action gate-approve",
    "belay audit list --run latest",
  ],
  async run(session, { since, until, who, action, run, host, before, limit }) {
    const { api } = await session.connect();
    const now = session.outside.now();
    const named = run === "latest" ? (await api.runs(1))[0]?.id : run;
    const page = await api.audit({
      limit,
      ...(who === undefined ? {} : { who }),
      ...(action === undefined ? {} : { action }),
      ...(host === undefined ? {} : { host }),
      ...(before === undefined ? {} : { before }),
      ...(since === undefined ? {} : { since: timeOf(since, now) }),
      ...(until === undefined ? {} : { until: timeOf(until, now) }),
      ...(named === undefined ? {} : { run: named }),
    });
    session.answer(page, ({ entries, next }) => [
      ...auditListing(entries, session.style),
      ...(next === null ? [] : [`older ones: --before ${next}`]),
    ]);
    return EXIT.ok;
  },
};

function timeOf(text: string, now: number): number {
  const ago = parseDuration(text);
  const at = ago === null ? Date.parse(text) : now - ago;
  if (Number.isFinite(at)) return Math.max(0, at);
  throw new BelayError("usage", `${text} is no time`, { hint: "Like 2026-11-23T20:00:00Z, or 24h for a day ago." });
}
