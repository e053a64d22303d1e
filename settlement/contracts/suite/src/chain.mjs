// The embedded chain as a child process that answers a JSON line with a JSON line.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..', '..');

/// Where the program is: `CHAIN_STDIO`, or where cargo puts it, the optimised one first.
function program() {
  const target = process.env.CARGO_TARGET_DIR ?? join(root, 'target');
  const places = [process.env.CHAIN_STDIO, join(target, 'release/examples/chain-stdio'), join(target, 'debug/examples/chain-stdio')];
  const found = places.find((place) => place && existsSync(place));
  if (!found) throw new Error('the chain is not built: cargo build --release -p cocoon-settlement --example chain-stdio');
  return found;
}

export class Chain {
  #child;
  #waiting = [];

  constructor() {
    this.#child = spawn(program(), { stdio: ['pipe', 'pipe', 'inherit'] });
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#waiting.shift().resolve(JSON.parse(line)));
    this.#child.on('exit', (code) => {
      for (const { reject } of this.#waiting.splice(0)) reject(new Error(`the chain ended with ${code}`));
    });
  }

  /// Asks one thing. Answers come in the order of the questions.
  async ask(request) {
    const answer = await new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    });
    if (answer.error !== undefined) throw new Error(`${request.do}: ${answer.error}`);
    return answer;
  }

  close() {
    this.#child.stdin.end();
  }
}
