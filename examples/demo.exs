# A tour of what the library does, on a real text: `make demo`.
#
# Each step shows its code, what came of it, and how long it took. A step that does not do what
# the tour says ends it with status 1.

defmodule Tour do
  @width 80

  def start(bindings) do
    # The steps tell by themselves of the worker that crashes.
    Logger.configure(level: :error)

    IO.puts("""

    A tour of erlang_python, on Elixir #{System.version()} and OTP #{System.otp_release()}.
    The time that each step took stands at its right.\
    """)

    {System.monotonic_time(:millisecond), bindings}
  end

  # Runs a step with the variables of those before it.
  def step({began, bindings}, title, code, right?) do
    IO.puts([?\n, IO.ANSI.format([:bright, title])])
    IO.puts(IO.ANSI.format([:cyan, code |> String.trim_trailing() |> indent("  ")]))

    # Parsed and expanded before the clock runs, as code in a module is.
    {run, _} = Code.eval_string("fn -> result = (\n#{code}\n)\n{result, binding()} end", bindings)
    {microseconds, {value, bindings}} = :timer.tc(run)
    show(value, microseconds)

    unless right?.(value) do
      IO.puts("\nThis is not what the step should give.")
      System.halt(1)
    end

    {began, bindings}
  end

  def finish({began, _bindings}) do
    seconds = (System.monotonic_time(:millisecond) - began) / 1_000
    IO.puts("\nThe tour took #{:erlang.float_to_binary(seconds, decimals: 1)} seconds.\n")
  end

  # The time stands at the end of the last line, or below it if there is no room.
  defp show(value, microseconds) do
    time = :erlang.float_to_binary(microseconds / 1_000, decimals: 2) <> " ms"
    lines = value |> text() |> indent("  ") |> String.split("\n")
    {others, [last]} = Enum.split(lines, -1)
    Enum.each(others, &IO.puts/1)
    room = @width - String.length(last)

    if room > String.length(time),
      do: IO.write(last),
      else: IO.puts(last)

    left = if room > String.length(time), do: room, else: @width
    IO.puts(IO.ANSI.format([:faint, String.pad_leading(time, left)]))
  end

  defp text({:error, %ErlangPython.Error{kind: :python} = error}), do: Exception.message(error)

  defp text({:error, %ErlangPython.Error{} = error}) do
    "error of kind #{inspect(error.kind)}, executed: #{inspect(error.executed)}\n" <>
      wrap(Exception.message(error))
  end

  defp text(value), do: inspect(value, pretty: true, width: @width - 14)

  defp wrap(text) do
    text
    |> String.split(" ")
    |> Enum.reduce([""], fn word, [line | lines] ->
      if String.length(line) + String.length(word) < @width - 4,
        do: [String.trim_leading(line <> " " <> word) | lines],
        else: [word, line | lines]
    end)
    |> Enum.reverse()
    |> Enum.join("\n")
  end

  defp indent(text, prefix), do: String.replace(text, ~r/^(?=.)/m, prefix)
end

# The development environment, which has NumPy, if `make` has made it.
venv = if File.dir?(".cache/venv"), do: ".cache/venv"

Application.put_env(:erlang_python, :pools, [[name: :default, workers: 2, venv: venv, grace: 500]])

Tour.start(venv: venv)
|> Tour.step(
  "Call a Python function. The first call starts a pool of two processes",
  ~S'''
  ErlangPython.call(:math, :sqrt, [16])
  ''',
  &(&1 == {:ok, 4.0})
)
|> Tour.step(
  "The second does not",
  ~S'''
  ErlangPython.call(:math, :sqrt, [16])
  ''',
  &(&1 == {:ok, 4.0})
)
|> Tour.step(
  "Which Python is this?",
  ~S'''
  Map.take(ErlangPython.info(), [:implementation, :python, :workers])
  ''',
  &match?(%{python: "3." <> _, workers: 2}, &1)
)
|> Tour.step(
  "Keyword arguments",
  ~S'''
  license = File.read!("LICENSE")
  words = license |> String.split() |> Enum.take(6)
  ErlangPython.call(:builtins, :sorted, [words], kwargs: [reverse: true])
  ''',
  &(&1 == {:ok, ["Version", "License", "January", "Apache", "2004", "2.0,"]})
)
|> Tour.step(
  "An expression. Elixir's values are its variables",
  ~S'''
  ErlangPython.eval("sum(len(w) > limit for w in text.split())",
    text: license, limit: 12)
  ''',
  &match?({:ok, count} when count in 1..1_000, &1)
)
|> Tour.step(
  "Statements. The last one is the value, as in a notebook",
  ~S'''
  ErlangPython.run("""
  import re
  from collections import Counter

  words = re.findall(r"[a-z]{5,}", text.lower())
  Counter(words).most_common(3)
  """, text: license)
  ''',
  &match?({:ok, [{"license", _}, {_, _}, {_, _}]}, &1)
)
|> Tour.step(
  "NumPy: the spectrum of the text's letters",
  ~S'''
  ErlangPython.run("""
  import numpy as np

  letters = np.frombuffer(text.encode(), np.uint8).astype(float)
  spectrum = np.abs(np.fft.rfft(letters - letters.mean()))
  {"letters": letters.size, "peaks": spectrum.argsort()[-3:].tolist()}
  """, text: license)
  ''',
  &match?({:ok, %{"letters" => 11_358, "peaks" => [_, _, _]}}, &1)
)
|> Tour.step(
  "A pool of its own, with code that each of its workers has loaded",
  ~S'''
  {:ok, _pid} = ErlangPython.Pool.start_link(
    name: :primes, workers: 2, venv: venv,
    preload: [code: """
    def is_prime(n):
        return all(n % d for d in range(3, int(n ** 0.5) + 1, 2))
    """])

  [9_999_999_999_971, 9_999_999_999_973, 10_000_000_000_037]
  |> ErlangPython.map(:__main__, :is_prime, pool: :primes)
  |> Enum.to_list()
  ''',
  &(&1 == [ok: true, ok: false, ok: true])
)
|> Tour.step(
  "A Python exception is data. This is how it prints",
  ~S'''
  ErlangPython.run("""
  def total(prices):
      try:
          return sum(float(price) for price in prices)
      except ValueError as error:
          raise RuntimeError("the shopping list is broken") from error

  total(["1.20", "2.50", "three"])
  """)
  ''',
  &match?({:error, %{type: "RuntimeError", cause: %{type: "ValueError"}}}, &1)
)
|> Tour.step(
  "A timeout stops Python code, also an endless loop",
  ~S'''
  ErlangPython.exec("while True: pass", %{}, timeout: 300)
  ''',
  &match?({:error, %{kind: :timeout}}, &1)
)
|> Tour.step(
  "A segmentation fault ends the call that it hit",
  ~S'''
  ErlangPython.exec("import ctypes; ctypes.string_at(0)")
  ''',
  &match?({:error, %{kind: :worker_exit, details: %{signal: 11}}}, &1)
)
|> Tour.step(
  "The pool serves on,",
  ~S'''
  ErlangPython.call(:math, :sqrt, [2])
  ''',
  &(&1 == {:ok, :math.sqrt(2)})
)
|> Tour.step(
  "and soon has two workers again",
  ~S'''
  Stream.repeatedly(fn -> ErlangPython.Pool.stats(:default) end)
  |> Enum.find(&(&1.idle == 2))
  |> Map.take([:workers, :idle, :busy])
  ''',
  &match?(%{workers: 2, idle: 2}, &1)
)
|> Tour.step(
  "1 000 calls, one after the other",
  ~S'''
  Enum.each(1..1_000, fn n -> ErlangPython.call!(:math, :sqrt, [n]) end)
  ''',
  &(&1 == :ok)
)
|> Tour.step(
  "10 000 calls, 64 at a time",
  ~S'''
  1..10_000
  |> ErlangPython.map(:math, :sqrt, max_concurrency: 64)
  |> Enum.count(&match?({:ok, _root}, &1))
  ''',
  &(&1 == 10_000)
)
|> Tour.finish()
