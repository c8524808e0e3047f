(function () {
  'use strict';
  var form = document.getElementById('filter');
  var q = document.getElementById('q');
  var items = Array.prototype.slice.call(document.querySelectorAll('.finding, .checks tbody tr'));
  var texts = items.map(function (item) { return item.textContent.toLowerCase(); });
  function filter() {
    var words = q.value.toLowerCase().split(/\s+/).filter(Boolean);
    var outcomes = {};
    form.querySelectorAll('input[name=outcome]').forEach(function (box) { outcomes[box.value] = box.checked; });
    var shown = 0;
    items.forEach(function (item, at) {
      var has = words.every(function (word) { return texts[at].indexOf(word) !== -1; });
      item.hidden = !has || outcomes[item.dataset.outcome] === false;
      if (!item.hidden && item.tagName === 'TR') { shown += 1; }
    });
    document.getElementById('shown').textContent = shown + ' of ' + document.querySelectorAll('.checks tbody tr').length + ' checks';
  }
  // A link can carry the words: report.html#q=late
  function fromAddress() {
    var match = /^#q=(.*)$/.exec(location.hash);
    if (match) {
      try { q.value = decodeURIComponent(match[1]); } catch (e) { q.value = match[1]; }
    }
    filter();
  }
  form.hidden = false;
  form.addEventListener('submit', function (event) { event.preventDefault(); });
  form.addEventListener('input', filter);
  window.addEventListener('hashchange', fromAddress);
  fromAddress();
})();
