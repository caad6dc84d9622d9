// What a browser makes of a page, as a list of sentences about what is wrong with it. The page itself holds no script.
(() => {
  const flaws = [];
  const told = element => `<${element.localName}> "${element.textContent.trim().slice(0, 60)}"`;
  const shown = element => element.checkVisibility({ contentVisibilityAuto: true, visibilityProperty: true });
  const paper = matchMedia("print").matches;

  if (!document.title.trim()) flaws.push("the page has no title");
  if (!document.documentElement.lang) flaws.push("the page does not say its language");
  if (document.querySelectorAll("h1").length !== 1) flaws.push("the page has no heading, or several");
  if (document.querySelectorAll("main").length !== 1) flaws.push("the page does not say what its main part is");
  if (document.scripts.length) flaws.push("the page holds a script");
  const foreign = "img, iframe, object, embed, link, video, audio, base, form, a:not([href^='#']), [src], [style], [background]";
  document.querySelectorAll(foreign).forEach(element => flaws.push(`the page holds ${told(element)}`));
  for (const element of document.querySelectorAll("*")) {
    for (const { name } of element.attributes) if (name.startsWith("on")) flaws.push(`${told(element)} has ${name}`);
  }
  let level = 1;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    const own = Number(heading.localName[1]);
    if (own > level + 1) flaws.push(`${told(heading)} skips a level`);
    level = own;
  }

  // Whoever listens hears of each cell in which row and column it is.
  for (const table of document.querySelectorAll("table")) {
    if (!table.caption?.textContent.trim()) flaws.push(`${told(table)} has no caption`);
    const columns = table.tHead?.rows[0]?.cells ?? [];
    for (const head of table.querySelectorAll("thead th")) {
      if (head.scope !== "col" || !head.textContent.trim()) flaws.push(`${told(table)} has a column without a heading`);
    }
    // Cells of rows above may reach down.
    let reaching = [];
    for (const row of table.querySelectorAll("tbody tr")) {
      const cells = [...row.cells, ...reaching.map(({ cell }) => cell)];
      const width = cells.reduce((sum, cell) => sum + cell.colSpan, 0);
      if (columns.length && width !== columns.length) flaws.push(`${told(row)} has ${width} cells below ${columns.length} headings`);
      if (!cells.some(cell => cell.matches("th[scope=row]"))) flaws.push(`${told(row)} has no heading`);
      const own = [...row.cells].map(cell => ({ cell, rows: cell.rowSpan }));
      reaching = [...reaching, ...own].map(({ cell, rows }) => ({ cell, rows: rows - 1 })).filter(({ rows }) => rows > 0);
    }
  }

  // Contrast as WCAG 2 defines it; 7 is its level AAA.
  const numbers = colour => colour.match(/[\d.]+/g).map(Number);
  const light = colour => {
    const [red, green, blue] = numbers(colour).map(part => part / 255).map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      const [, , , alpha = 1] = numbers(colour);
      if (alpha === 1) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const combinations = new Set();
  for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    const element = text.parentElement;
    if (!text.data.trim()) continue;
    if (!shown(element)) {
      if (paper && element.closest("details")) flaws.push(`${told(element)} is missing on paper`);
      continue;
    }
    const pair = `${getComputedStyle(element).color} on ${ground(element)}`;
    if (!combinations.has(pair)) {
      combinations.add(pair);
      const [brighter, darker] = pair.split(" on ").map(light).sort((one, other) => other - one);
      const contrast = (brighter + 0.05) / (darker + 0.05);
      if (contrast < 7) flaws.push(`${told(element)} has a contrast of ${contrast.toFixed(2)} only (${pair})`);
    }
    // Nothing lies beside the window, and no column is so narrow that words stand letter below letter.
    const range = document.createRange();
    range.selectNodeContents(text);
    const boxes = [...range.getClientRects()];
    if (boxes.some(box => box.right > innerWidth + 1 || box.left < -1)) flaws.push(`${told(element)} is cut off`);
    const letters = [...text.data.trim()].length;
    const lines = new Set(boxes.filter(box => box.width > 0).map(box => Math.round(box.top))).size;
    if (lines > 2 && lines * 5 > letters) flaws.push(`${told(element)} stands in ${lines} lines of few letters`);
  }
  if (document.documentElement.scrollWidth > innerWidth) flaws.push(`the page is ${document.documentElement.scrollWidth} wide`);
  return flaws.slice(0, 20);
})()
