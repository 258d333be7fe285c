# A tour of what the library does, on a real text: `make demo`, or
#
#     mix run examples/demo.exs
#
# Each step shows the Elixir code, what it gave, and how long it took.

defmodule Demo do
  @width 78

  def title(text), do: IO.puts([?\n, IO.ANSI.format([:bright, text])])

  defmacro show(code) do
    text = code |> Macro.to_string() |> String.split("\n") |> Enum.map_join("\n", &("    " <> &1))

    quote do
      IO.puts(IO.ANSI.format([:cyan, unquote(text)]))
      {microseconds, value} = :timer.tc(fn -> unquote(code) end)
      Demo.result(value, microseconds)
      value
    end
  end

  def result(value, microseconds) do
    lines = value |> text() |> String.split("\n")
    Enum.each(lines, &IO.puts(["    ", &1]))
    time = "#{:erlang.float_to_binary(microseconds / 1_000, decimals: 2)} ms"
    IO.puts(IO.ANSI.format([:faint, String.pad_leading(time, @width)]))
  end

  defp text({:error, %ErlangPython.Error{kind: :python} = error}), do: Exception.message(error)

  defp text({:error, %ErlangPython.Error{} = error}),
    do:
      "{:error, %ErlangPython.Error{kind: #{inspect(error.kind)}}}\n" <> Exception.message(error)

  defp text(value), do: inspect(value, pretty: true, width: @width - 4, limit: 12)
end

defmodule Demo.Tour do
  import Demo

  def run(python) do
    license = "LICENSE" |> Path.expand(Path.join(__DIR__, "..")) |> File.read!()

    title("A pool of two Python processes")

    show(
      {:ok, _pool} =
        ErlangPython.Pool.start_link(name: :demo, workers: 2, python: python, grace: 500)
    )

    Application.put_env(:erlang_python, :pools, [[name: :default, workers: 2, python: python]])

    show(
      Map.take(ErlangPython.info(pool: :demo), [:python, :implementation, :workers, :packages])
    )

    title("Call a function: the first starts the default pool, the second does not")
    show(ErlangPython.call(:math, :sqrt, [16]))
    show(ErlangPython.call(:math, :sqrt, [16]))

    title("Keyword arguments")
    words = license |> String.split() |> Enum.uniq() |> Enum.take(6)
    show(ErlangPython.call(:builtins, :sorted, [words], kwargs: [key: nil, reverse: true]))

    title("An expression: how long are the words of this project's license?")

    show(
      ErlangPython.eval("{n: sum(len(w) == n for w in text.split()) for n in (1, 2, 3)}",
        text: license
      )
    )

    title("Statements whose last expression is the value, as in a notebook")

    code = """
    from collections import Counter
    import re

    words = re.findall(r"[a-z]{5,}", text.lower())
    Counter(words).most_common(5)
    """

    show(ErlangPython.run(code, text: license))

    title("NumPy, in the same worker: the spectrum of its letters")

    code = """
    import numpy as np

    letters = np.frombuffer(text.encode(), dtype=np.uint8).astype(float)
    spectrum = np.abs(np.fft.rfft(letters - letters.mean()))
    {"samples": letters.size, "mean": letters.mean(), "strongest": spectrum.argsort()[-3:].tolist()}
    """

    show(ErlangPython.run(code, text: license))

    title("All elements of a list, over all workers")

    numbers = [
      112_272_535_095_293,
      112_582_705_942_171,
      115_280_095_190_773,
      1_099_726_899_285_419
    ]

    prime = """
    def is_prime(n):
        return n % 2 == 1 and all(n % d for d in range(3, int(n ** 0.5) + 1, 2))
    """

    {:ok, _pool} =
      ErlangPython.Pool.start_link(
        name: :primes,
        workers: 2,
        python: python,
        preload: [code: prime]
      )

    show(numbers |> ErlangPython.map(:__main__, :is_prime, pool: :primes) |> Enum.to_list())

    title("A Python exception is data; this is how it prints")

    code = """
    def price(text):
        return float(text)

    def total(prices):
        try:
            return sum(price(p) for p in prices)
        except ValueError as error:
            raise RuntimeError("the shopping list is broken") from error

    total(["1.20", "2.50", "three"])
    """

    show(ErlangPython.run(code))

    title("A timeout stops the Python code, also one that never looks up")
    show(ErlangPython.exec("while True: pass", %{}, pool: :demo, timeout: 300))

    title("A segmentation fault ends its own request, and the pool heals")
    show(ErlangPython.exec("import ctypes; ctypes.string_at(0)", %{}, pool: :demo))
    show(ErlangPython.call!(:math, :sqrt, [2], pool: :demo))
    show(heal())

    title("10 000 calls, one after the other, and from 64 processes at once")
    show(Enum.each(1..10_000, fn n -> ErlangPython.call!(:math, :sqrt, [n], pool: :demo) end))

    show(
      1..10_000
      |> ErlangPython.map(:math, :sqrt, pool: :demo, max_concurrency: 64)
      |> Enum.count()
    )

    IO.puts("")
  end

  # The pool replaces the worker by itself; this waits to see it.
  def heal do
    case ErlangPython.Pool.stats(:demo) do
      %{idle: 2} = stats -> stats
      _not_yet -> heal()
    end
  end
end

Logger.configure(level: :warning)
Demo.Tour.run(System.get_env("ERLANG_PYTHON_DEMO_PYTHON"))
