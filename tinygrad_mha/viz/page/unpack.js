// The trace out of its packed form (tinygrad_mha/viz/packing.py): columns become objects again.

/** {n, columns} → n objects with the columns' names as keys. */
function unpackRecord({ n, columns }) {
  function Row() {} // its own: the engine learns from the first how much room the others need
  const names = Object.keys(columns);
  const values = names.map((name) => unpackColumn(columns[name], n));
  return Array.from({ length: n }, (_, i) => {
    const row = new Row();
    for (let k = 0; k < names.length; k++) row[names[k]] = values[k][i];
    return row;
  });
}

/** One of: the values as they are; {same}; {table, at}; {some, record}; {counts, record}; {counts, zip}; {bits}; {weights}. */
function unpackColumn(column, n) {
  if (Array.isArray(column)) return column;
  if ("same" in column) return Array(n).fill(column.same);
  if (column.table) return column.at.map((k) => column.table[k]);
  if (column.bits) return unpackColumn(column.bits, n).map(unpackBits);
  if (column.weights) return column.weights.map(unpackWeights);
  if (column.some) {
    const made = Array(n).fill(null);
    unpackRecord(column.record).forEach((one, k) => (made[column.some[k]] = one));
    return made;
  }
  const total = column.counts.reduce((sum, count) => sum + count, 0);
  const flat = column.record ? unpackRecord(column.record) : unpackTuples(column.zip, total);
  let next = 0;
  return column.counts.map((count) => flat.slice(next, (next += count)));
}

function unpackTuples(parts, n) {
  const columns = parts.map((part) => unpackColumn(part, n));
  return Array.from({ length: n }, (_, i) => columns.map((column) => column[i]));
}

/** "rows columns base64" → rows, each value by `read(bytes, index)`. */
function unpackRows(text, read) {
  const [high, wide, content] = text.split(" ");
  const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
  return Array.from({ length: Number(high) }, (_, i) => Array.from({ length: Number(wide) }, (_, j) => read(bytes, i * wide + j)));
}

function unpackWeights(text) {
  return unpackRows(text, (bytes, k) => {
    const whole = bytes[2 * k] + 256 * bytes[2 * k + 1];
    return whole === 65535 ? "nan" : whole / 65534;
  });
}

function unpackBits(text) {
  return unpackRows(text, (bytes, k) => Boolean((bytes[k >> 3] >> (7 - (k & 7))) & 1));
}
