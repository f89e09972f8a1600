/** Everything a command may touch of the machine it runs on. `main.ts` makes the real one. */
export interface Outside {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  /** The operating system's name for whoever runs this. */
  readonly userName: string;
  readonly out: Output;
  readonly err: Output;
  readonly fetch: typeof globalThis.fetch;
  /** Milliseconds since the epoch. */
  now(): number;
  /** Resolves after so many milliseconds, or as soon as the signal aborts. Never rejects. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** Calls `react` on Ctrl-C in place of ending the program. Returns what undoes it. */
  onInterrupt(react: () => void): () => void;
  /** Calls `react` when the window has another size. Returns what undoes it. */
  onResize(react: () => void): () => void;
  /** Runs a program to its end, with this on its standard input; what it says on standard error goes to the terminal. */
  run(argv: readonly string[], input: string): Promise<{ readonly code: number; readonly output: string }>;
  /** Is there a person at a terminal who could be asked? */
  readonly canAsk: boolean;
  /** Asks the person at the terminal one question. Null: there is no terminal, or they ended the input. */
  ask(question: string, signal: AbortSignal): Promise<string | null>;
}

export interface Output {
  readonly isTty: boolean;
  /** Of the window now; something sensible where there is none. */
  readonly columns: number;
  readonly rows: number;
  write(text: string): void;
}
