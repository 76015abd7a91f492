// Draws the chart of an institution from its chart.json, again whenever the colours change.
"use strict";
(function () {
  var place = document.getElementById("chart");
  if (!place || !window.echarts) { return; }
  var words = place.dataset;
  var chart = null;
  var data = null;
  // One fen is a hundredth; what is drawn is yuan, what is said is exact to the fen.
  var FEN = 100;
  var SHAPES = { red: "diamond", orange: "triangle", yellow: "circle", info: "circle" };
  var GONE = { resolved: true, eased: true, acknowledged: true, snoozed: true, accepted: true };

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  }

  function exact(fen) {
    if (fen === null || fen === undefined) { return "–"; }
    var sign = fen < 0 ? "-" : "";
    var whole = Math.floor(Math.abs(fen) / FEN);
    var part = String(Math.abs(fen) % FEN);
    return sign + String(whole).replace(/\B(?=(\d{3})+$)/g, ",") + "." + (part.length < 2 ? "0" + part : part);
  }

  function short(yuan) {
    if (words.lang === "zh" && Math.abs(yuan) >= 1e8) { return yuan / 1e8 + " 亿"; }
    if (words.lang === "zh" && Math.abs(yuan) >= 1e4) { return yuan / 1e4 + " 万"; }
    if (Math.abs(yuan) >= 1e6) { return yuan / 1e6 + "m"; }
    return Math.abs(yuan) >= 1e3 ? yuan / 1e3 + "k" : String(yuan);
  }

  function line(name, label, tint, more) {
    var found = {
      name: label, type: "line", data: data.series[name].map(function (fen) { return fen === null ? null : fen / FEN; }),
      showSymbol: false, connectNulls: false, lineStyle: { width: 2, color: tint }, itemStyle: { color: tint }, emphasis: { disabled: true },
    };
    for (var key in more) { found[key] = more[key]; }
    return found;
  }

  // Alerts stand on the balance line, where it last was known.
  function marks() {
    var places = {};
    var held = [], known = 0;
    data.dates.forEach(function (day, index) {
      places[day] = index;
      if (data.series.balance[index] !== null) { known = data.series.balance[index]; }
      held.push(known);
    });
    // What the closure watch said stands there as upright lines.
    return data.events.filter(function (event) { return !GONE[event.transition] && event.rule !== "closure_watch" && event.on in places; }).map(function (event) {
      return {
        value: [event.on, held[places[event.on]] / FEN], symbol: SHAPES[event.severity], symbolSize: 11, event: event,
        itemStyle: { color: colour(event.severity === "info" ? "unknown" : event.severity), borderColor: colour("card"), borderWidth: 1 },
      };
    });
  }

  // The days of the forecast follow those of the past; between two of its days it runs straight.
  function prepare(found) {
    found.days = found.dates.slice();
    found.ahead = null;
    if (!found.outlook || !found.outlook.dates.length) { return found; }
    var dates = found.outlook.dates, step = 864e5;
    for (var at = Date.parse(found.days[found.days.length - 1]) + step; at <= Date.parse(dates[dates.length - 1]); at += step) {
      found.days.push(new Date(at).toISOString().slice(0, 10));
    }
    function along(values) {
      return found.days.map(function (day) {
        if (day < dates[0] || day > dates[dates.length - 1]) { return null; }
        var after = 0;
        while (dates[after] < day) { after += 1; }
        if (dates[after] === day) { return values[after]; }
        var from = Date.parse(dates[after - 1]), part = (Date.parse(day) - from) / (Date.parse(dates[after]) - from);
        return Math.round(values[after - 1] + (values[after] - values[after - 1]) * part);
      });
    }
    function band(name) {
      var of = found.outlook[name];
      return { low: along(of.low), middle: along(of.middle), high: along(of.high) };
    }
    found.ahead = { from: dates[0], balance: band("balance"), owed: band("owed") };
    return found;
  }

  function yuan(values) {
    return values.map(function (fen) { return fen === null ? null : fen / FEN; });
  }

  // A band is what lies over an unseen line; its middle is dashed.
  function ahead(name, label, tint) {
    var of = data.ahead[name];
    var unseen = { type: "line", name: label, stack: name, stackStrategy: "all", showSymbol: false, silent: true, lineStyle: { opacity: 0 }, itemStyle: { color: tint }, emphasis: { disabled: true } };
    var wide = of.high.map(function (fen, index) { return fen === null ? null : fen - of.low[index]; });
    var low = {}, high = {};
    for (var key in unseen) { low[key] = high[key] = unseen[key]; }
    low.data = yuan(of.low);
    high.data = yuan(wide);
    high.areaStyle = { color: tint, opacity: 0.16 };
    return [low, high, {
      type: "line", name: label, data: yuan(of.middle), showSymbol: false, itemStyle: { color: tint }, emphasis: { disabled: true },
      lineStyle: { width: 2, type: [5, 4], color: tint },
    }];
  }

  // Upright lines: where the forecast begins, and where the closure watch changed its mind.
  function uprights() {
    var found = [], last = -1, raised = false;
    if (data.ahead) { found.push({ xAxis: data.ahead.from, label: { show: false }, lineStyle: { type: "solid", width: 1, color: colour("quiet") } }); }
    if (data.outlook) {
      data.outlook.levels.forEach(function (change) {
        var at = data.days.indexOf(change.on);
        if (at < 0) { return; }
        // Names that would lie on one another stand one above the other.
        raised = last >= 0 && (at - last) * place.clientWidth / data.days.length < 44 && !raised;
        last = at;
        var tint = colour(change.level || "met");
        found.push({
          xAxis: change.on, lineStyle: { type: "dotted", width: 2, color: tint },
          label: { formatter: words[change.level] || words.calm, color: tint, fontSize: 12, position: "end", distance: raised ? 18 : 3 },
        });
      });
    }
    return found;
  }

  function says(points) {
    var day = points[0].axisValue;
    var index = data.days.indexOf(day);
    var lines = [day];
    if (index < data.dates.length) { lines.push(words.balance + "  " + exact(data.series.balance[index])); }
    if (data.ahead && data.ahead.balance.low[index] !== null && day !== data.ahead.from) {
      [["balance", words.balanceAhead], ["owed", words.owedAhead]].forEach(function (one) {
        var of = data.ahead[one[0]];
        lines.push(one[1] + "  " + exact(of.middle[index]), "    " + words.range + "  " + exact(of.low[index]) + " – " + exact(of.high[index]));
      });
    }
    if (index >= data.dates.length) { return lines.join("\n"); }
    if (data.outlook) {
      data.outlook.levels.forEach(function (change) {
        if (change.on === day) { lines.push(words.closure + "  " + (words[change.level] || words.calm)); }
      });
    }
    if (data.series.floor[index] !== null) { lines.push(words.floor + "  " + exact(data.series.floor[index])); }
    if (data.series.owed[index] !== null) { lines.push(words.owed + "  " + exact(data.series.owed[index])); }
    if (data.latest && data.latest.on === day) { lines.push(words.latest + "  " + exact(data.latest.balance)); }
    data.events.forEach(function (event) {
      if (event.on === day && !GONE[event.transition]) { lines.push("● " + words[event.severity] + "  " + event.name); }
    });
    return lines.join("\n");
  }

  function known(name) {
    return data.series[name].some(function (fen) { return fen !== null; });
  }

  function options() {
    var ink = colour("ink"), quiet = colour("quiet"), grid = colour("line");
    var narrow = place.clientWidth < 560;
    return {
      animation: false, backgroundColor: "transparent", textStyle: { color: ink, fontFamily: "inherit" },
      aria: { enabled: false },
      grid: { left: 8, right: 16, top: narrow ? 84 : 56, bottom: 56, containLabel: true },
      legend: {
        top: 0, left: 0, itemHeight: 8, textStyle: { color: ink, fontSize: 13 },
        data: [words.balance].concat(
          known("floor") ? [words.floor] : [], known("owed") ? [words.owed] : [], data.ahead ? [words.balanceAhead, words.owedAhead] : [], data.latest ? [words.latest] : [], marks().length ? [words.events] : []
        ),
      },
      tooltip: { trigger: "axis", renderMode: "richText", confine: true, formatter: says, backgroundColor: colour("card"), borderColor: grid, textStyle: { color: ink, fontSize: 13, lineHeight: 20 }, axisPointer: { lineStyle: { color: quiet } } },
      xAxis: { type: "category", data: data.days, boundaryGap: false, axisLine: { lineStyle: { color: grid } }, axisTick: { show: false }, axisLabel: { color: quiet, fontSize: 12, formatter: function (day) { return day.slice(5); }, hideOverlap: true, interval: narrow ? "auto" : undefined } },
      yAxis: { type: "value", min: function (value) { return Math.min(0, value.min); }, max: function (value) { return data.floor_now !== null && data.floor_now / FEN > value.max ? data.floor_now / FEN * 1.1 : null; }, axisLabel: { color: quiet, formatter: short }, splitLine: { lineStyle: { color: grid } } },
      dataZoom: [
        { type: "slider", height: 20, bottom: 8, borderColor: grid, fillerColor: "rgba(127,140,160,0.18)", textStyle: { color: quiet }, dataBackground: { lineStyle: { color: quiet }, areaStyle: { color: grid } }, brushSelect: false },
      ],
      series: [
        line("balance", words.balance, colour("link"), {
          areaStyle: { color: colour("link"), opacity: 0.08 },
          markLine: data.floor_now === null ? undefined : {
            silent: true, symbol: "none", lineStyle: { type: "dashed", width: 1, color: colour("red") },
            label: { position: "insideStartTop", color: colour("red"), formatter: words.floorNow + " " + exact(data.floor_now) },
            data: [{ yAxis: data.floor_now / FEN }],
          },
        }),
        line("floor", words.floor, colour("red"), { step: "end", lineStyle: { width: 2, type: "dashed", color: colour("red") } }),
        line("owed", words.owed, colour("unknown"), { connectNulls: true, showSymbol: true, symbolSize: 5, lineStyle: { width: 1.5, type: "dotted", color: colour("unknown") } }),
        { name: words.latest, type: "scatter", symbol: "emptyCircle", symbolSize: 9, z: 4, itemStyle: { color: colour("link") }, data: data.latest ? [[data.latest.on, data.latest.balance / FEN]] : [] },
        { name: words.events, type: "scatter", data: marks(), z: 5, itemStyle: { color: colour("red") } },
        { type: "line", name: words.closure, data: [], silent: true, markLine: { silent: true, symbol: "none", animation: false, data: uprights() } },
      ].concat(data.ahead ? ahead("balance", words.balanceAhead, colour("link")).concat(ahead("owed", words.owedAhead, colour("unknown"))) : []),
    };
  }

  function draw() {
    if (!data) { return; }
    place.classList.add("drawn");
    document.getElementById("chart-needs").hidden = true;
    if (!chart) { chart = window.echarts.init(place, null, { renderer: "canvas" }); }
    chart.setOption(options(), true);
  }

  fetch(place.dataset.source, { credentials: "same-origin" }).then(function (answer) {
    if (!answer.ok) { throw new Error(String(answer.status)); }
    return answer.json();
  }).then(function (found) { data = prepare(found); draw(); }).catch(function () { place.classList.remove("drawn"); });
  document.addEventListener("theme", draw);
  window.addEventListener("resize", function () { if (chart) { chart.resize(); } });
  window.addEventListener("beforeprint", function () { if (chart) { chart.resize(); } });
})();
