// What the scripts of all clients in JavaScript share: what came of each job is a line of JSON.

export const url = process.env.CLIENT_URL;
export const model = process.env.CLIENT_MODEL;

const jobs = [];

export function job(name, work) {
  jobs.push([name, work]);
}

export function check(is) {
  if (!is) throw new Error('not as it must be');
}

export async function run() {
  for (const [job, work] of jobs) {
    let why = '';
    try {
      await work();
    } catch (failure) {
      console.error(failure);
      why = String(failure).slice(0, 2000) || 'failed';
    }
    console.log(JSON.stringify({ job, why }));
  }
  process.exit(0);
}
