// The theme that the user chose, set before anything is drawn. Without a choice the system's holds.
// A classic script, because a module would run only after the first painting.
{
  const chosen = localStorage.getItem('ayder.theme');
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
}
