/**
 * JSON lines in pino's shape, so that the same log pipeline reads belayd and its agents. Not pino itself: the agent has
 * ten runtime packages at most, and pino alone would be nine of them.
 */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  /** A logger that adds `fields` to every line. */
  child(fields: object): Logger;
}

const LEVELS = { debug: 20, info: 30, warn: 40, error: 50 } as const;
export type LogLevel = keyof typeof LEVELS;
export const LOG_LEVELS = Object.keys(LEVELS) as LogLevel[];

/** A logger that hands each line, newline included, to `write`. Lines below `level` are dropped. */
export function createLogger(options: {
  level: LogLevel;
  write: (line: string) => void;
  now: () => number;
  fields?: object;
}): Logger {
  const { level, write, now, fields = {} } = options;
  const at = (name: LogLevel) => (more: object, msg: string) => {
    if (LEVELS[name] < LEVELS[level]) return;
    write(`${JSON.stringify({ level: LEVELS[name], time: now(), ...fields, ...more, msg })}\n`);
  };
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    child: (more) => createLogger({ level, write, now, fields: { ...fields, ...more } }),
  };
}

/** Says nothing: for embedding. */
export const silentLogger: Logger = createLogger({ level: "error", write: () => {}, now: () => 0 });
