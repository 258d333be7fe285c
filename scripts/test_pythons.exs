# Runs the worker's tests and the core of the Elixir tests on each Python of this machine, found as a pool finds
# them, and prints a table. Exits with 1 if a test fails.
#
#     make test-pythons                     those of 3.9 to 3.15 that are here
#     make test-pythons ARGS="3.9 3.12"     these, which then have to be here; a path will do too
#
# Each has a virtual environment from the lock file in .cache/pythons, which is kept.

defmodule TestPythons do
  alias ErlangPython.Env.Interpreter

  @minors 9..15
  @lock "requirements/dev.lock"
  @folder ".cache/pythons"

  # What depends on the Python that runs it. The others are about Elixir alone, or about the machine's Pythons
  # already.
  @core ~w(
    test/erlang_python_test.exs test/py_test.exs test/py_context_test.exs test/py_streams_test.exs
    test/py_venv_test.exs test/py_workers_test.exs test/erlang_python/asyncio
    test/erlang_python/broadcast_test.exs test/erlang_python/callbacks test/erlang_python/context
    test/erlang_python/deaths_test.exs test/erlang_python/ends_test.exs test/erlang_python/faults
    test/erlang_python/introspection_test.exs test/erlang_python/iterator_test.exs
    test/erlang_python/nesting test/erlang_python/output_test.exs test/erlang_python/pool
    test/erlang_python/reload_test.exs test/erlang_python/state_test.exs test/erlang_python/stream
    test/erlang_python/msgpack/python_test.exs test/erlang_python/msgpack/vectors_test.exs
  )

  def main(wanted) do
    pythons =
      if wanted == [], do: Enum.flat_map(@minors, &here/1), else: Enum.map(wanted, &named/1)

    if pythons == [], do: stop("no Python 3.#{@minors.first} or newer is here")
    results = Enum.map(pythons, &test/1)
    IO.puts(["\n", table(results)])
    if Enum.any?(results, & &1.failed?), do: System.halt(1)
  end

  defp here(minor) do
    with {:ok, path} <- Interpreter.find(python: "3.#{minor}"),
         {:ok, version} <- version(path) do
      [{version, path}]
    else
      _not_here -> []
    end
  end

  defp named(name) do
    with {:ok, path} <- Interpreter.find(python: name),
         {:ok, version} <- version(path) do
      {version, path}
    else
      {:error, error} when is_exception(error) -> stop(Exception.message(error))
      {:error, said} -> stop("Python #{name} can't make a virtual environment: #{said}")
    end
  end

  # One without these can't be tested: Debian has them in a package of its own.
  defp version(path) do
    code = "import ensurepip, platform, venv; print(platform.python_version())"

    case System.cmd(path, ["-c", code], stderr_to_stdout: true) do
      {version, 0} -> {:ok, String.trim(version)}
      {said, _status} -> {:error, said |> String.trim() |> String.split("\n") |> List.last()}
    end
  end

  defp test({version, path}) do
    IO.puts("Python #{version} (#{path})")
    python = environment(version, path)

    suites = [
      suite(version, :worker, python, ["-m", "pytest", "-q"], []),
      suite(version, :core, "mix", ["test" | @core], env(python))
    ]

    %{version: version, path: path, suites: suites, failed?: Enum.any?(suites, & &1.failed?)}
  end

  defp env(python), do: [{"TESTED_PYTHON", python}, {"MIX_ENV", "test"}]

  # The lock names hashes; its own decides whether a folder is still right.
  defp environment(version, path) do
    folder = Path.join(@folder, version)
    stamp = Path.join(folder, "lock")
    lock = @lock |> File.read!() |> :erlang.md5() |> Base.encode16()

    if File.read(stamp) != {:ok, lock} do
      File.mkdir_p!(folder)
      arguments = [@lock, Path.join(folder, "venv")]
      env = [{"PYTHON", path}]

      case System.cmd(Path.expand("scripts/venv.sh"), arguments, env: env, stderr_to_stdout: true) do
        {_said, 0} -> File.write!(stamp, lock)
        {said, _status} -> stop(said)
      end
    end

    Path.expand(Path.join(folder, "venv/bin/python"))
  end

  # What a suite prints goes to a file, and to the terminal if a test fails.
  defp suite(version, name, command, arguments, env) do
    {microseconds, {output, status}} =
      :timer.tc(fn -> System.cmd(command, arguments, env: env, stderr_to_stdout: true) end)

    File.write!(Path.join([@folder, version, "#{name}.log"]), output)
    if status != 0, do: IO.puts(output)
    said = output |> String.split("\n", trim: true) |> Enum.filter(&summary?/1) |> List.last("")
    seconds = div(microseconds, 1_000_000)
    IO.puts("  #{name}: #{String.trim(said)} (#{seconds} s)")

    %{
      tests: number(said, ~w(passed failed errors? tests? doctests?)),
      failures: number(said, ~w(failed errors? failures?)),
      seconds: seconds,
      failed?: status != 0
    }
  end

  # "3 failed, 914 passed, 2 skipped in 80.2s"; "16 doctests, 320 tests, 0 failures"
  defp summary?(line), do: line =~ ~r/^=*\s*\d+ \w+.*( in [\d.]+s|, \d+ failures?)/

  defp number(said, words) do
    ~r/(\d+) (?:#{Enum.join(words, "|")})\b/
    |> Regex.scan(said, capture: :all_but_first)
    |> Enum.map(fn [number] -> String.to_integer(number) end)
    |> Enum.sum()
  end

  defp table(results) do
    title = ["Python", "worker tests", "failed", "s", "core tests", "failed", "s", ""]

    rows =
      for result <- results do
        numbers = for suite <- result.suites, key <- [:tests, :failures, :seconds], do: suite[key]
        [result.version | numbers] ++ [if(result.failed?, do: "FAILED", else: "passed")]
      end

    widths =
      Enum.zip_with([title | rows], fn column -> column |> Enum.map(&width/1) |> Enum.max() end)

    for row <- [title | rows], do: [row |> Enum.zip_with(widths, &pad/2) |> Enum.join("  "), "\n"]
  end

  defp width(cell), do: cell |> to_string() |> String.length()
  defp pad(number, width) when is_integer(number), do: String.pad_leading("#{number}", width)
  defp pad(text, width), do: String.pad_trailing(text, width)

  defp stop(reason) do
    IO.puts(:stderr, "error: #{String.trim(reason)}")
    System.halt(1)
  end
end

TestPythons.main(System.argv())
