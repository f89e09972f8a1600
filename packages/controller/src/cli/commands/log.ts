import type { LogLine } from "../../api/contract.js";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { dateTime } from "../render/measure.js";
import type { Style } from "../render/style.js";
import type { Session } from "../session.js";
import { followLog } from "../watch/follow-log.js";

interface LogOptions {
  readonly host?: string;
  readonly follow?: true;
}

export const log: CommandSpec<LogOptions> = {
  name: "log [run]",
  summary: "what happened in a run (default: the newest), line by line",
  options: [
    { flags: "--host <host>", about: "only of this host" },
    { flags: "-f, --follow", about: "go on until the run ends; with --json a value a line" },
  ],
  examples: ["belay log", "belay log latest --host auth-1", "belay log --follow"],
  async run(session, { host, follow }, [run = "latest"]) {
    const { api } = await session.connect();
    if (!follow) {
      session.answer(await api.log(run, host), (lines) => lines.map((line) => logText(line, session.style)));
      return EXIT.ok;
    }
    const stop = new AbortController();
    const release = session.outside.onInterrupt(() => stop.abort());
    try {
      for await (const line of followLog(api, run, host, session.outside, stop.signal)) showLine(session, line);
    } finally {
      release();
    }
    return stop.signal.aborted ? EXIT.interrupted : EXIT.ok;
  },
};

function showLine(session: Session, line: LogLine): void {
  if (session.json) session.printJsonLine(line);
  else session.print([logText(line, session.style)]);
}

function logText({ at, level, message }: LogLine, style: Style): string {
  const paint = level === "error" ? style.bad : level === "warn" ? style.warn : (text: string) => text;
  return `${dateTime(at)} ${paint(level === "info" ? message : `${level.toUpperCase()} ${message}`)}`;
}
