# From nothing to the first result: how long it takes and by which commands, in IEx, a Mix project, Livebook and a
# release.
#
#     make first-result                                                     with this machine's Elixir and Python
#     make first-result ARGS=--debian                                       on a new Debian 12, as root
#     make first-result ARGS="--debian --out docs/getting-started.md"       the table into that page, too
#
# Each way starts in an empty folder with an empty home folder, so what has to be fetched is fetched while the clock
# runs. It stops when the result stands on the terminal. The files of the checkout are there before.

for file <- ~w(stats clock baseline machine result report first_result_ways) do
  Code.require_file("support/#{file}.exs", __DIR__)
end

defmodule Bench.FirstResult do
  alias Bench.{FirstResultWays, Machine, Report}

  @root Path.expand("..", __DIR__)
  # The last three are for its own run on a Debian.
  @switches [debian: :boolean, out: :string] ++
              [toolchain: :integer, commit: :string, made_by: :string]
  @titles ["", "typed", "empty caches", "warm caches", "again"]
  # How this machine reaches the network, and nothing else of its settings.
  @kept ~w(PATH LC_ALL SSL_CERT_FILE PIP_CERT REQUESTS_CA_BUNDLE PIP_INDEX_URL UV_DEFAULT_INDEX
           http_proxy https_proxy no_proxy all_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY)

  def main(arguments) do
    {options, names, invalid} = OptionParser.parse(arguments, strict: @switches)

    if names != [] or invalid != [],
      do: stop("usage: make first-result ARGS=\"[--debian] [--out FILE]\"")

    command = options[:made_by] || Enum.join(["make first-result" | args(arguments)], " ")
    text = if options[:debian], do: on_debian(command), else: here(command, options)
    IO.write(text)
    if options[:out], do: Report.write(options[:out], text)
  end

  defp args([]), do: []
  defp args(arguments), do: [~s(ARGS="#{Enum.join(arguments, " ")}")]

  # The root is made anew, the toolchain installed in it as `make` does it, and then this program runs there.
  defp on_debian(command) do
    debian(["true"], [{"FRESH", "1"}])
    {microseconds, _said} = :timer.tc(fn -> debian(["make", ".cache/toolchain.stamp"]) end)
    [commit] = for {"commit", commit} <- Machine.describe(""), do: commit
    options = ["--toolchain", "#{microseconds}", "--commit", commit, "--made-by", command]
    debian(["elixir", "bench/first_result.exs" | options])
  end

  defp debian(command, env \\ []) do
    note("Debian 12: #{Enum.join(command, " ")}")
    script = Path.join(@root, "scripts/debian.sh")

    case System.cmd(script, ["bookworm" | command], env: env) do
      {said, 0} -> said
      {said, _status} -> stop(said)
    end
  end

  defp here(command, options) do
    version = "import platform; print(platform.python_version(), end='')"
    {python, 0} = System.cmd("python3", ["-c", version])
    name = ". /etc/os-release 2>/dev/null; printf %s \"${PRETTY_NAME:-$(uname -sr)}\""
    {system, 0} = System.cmd("sh", ["-c", name])
    commit = options[:commit]

    machine =
      for {key, value} <- Machine.describe(python),
          do: {key, (key == "commit" && commit) || value}

    [Report.head(command, [{"system", system} | machine]), table(options[:toolchain])]
  end

  defp table(toolchain) do
    base = Path.join(System.tmp_dir!(), "first-result-#{System.pid()}")

    try do
      rows = for way <- FirstResultWays.all(), do: row(way, base)
      Report.grid([@titles | toolchain_row(toolchain) ++ rows])
    after
      File.rm_rf!(base)
    end
  end

  defp toolchain_row(nil), do: []

  defp toolchain_row(microseconds) do
    [["Elixir, Erlang and Python, by `make`", "1", show(microseconds), "", ""]]
  end

  defp row(way, base) do
    home = Path.join(base, "#{way.name} home")
    empty = Path.join(base, "#{way.name} 1")
    warm = Path.join(base, "#{way.name} 2")
    File.mkdir_p!(home)

    times = [
      run(way.steps, empty, home),
      run(way.steps, warm, home),
      again(way.steps, warm, home)
    ]

    note("#{way.name}: #{Enum.map_join(times, ", ", &show/1)}")
    [way.name, "#{length(way.typed)}" | Enum.map(times, &show/1)]
  end

  defp run(steps, folder, home) do
    copy_checkout(Path.join(folder, "erlang_python"))
    steps |> Enum.map(&step(&1, folder, home)) |> Enum.sum()
  end

  defp again(steps, folder, home), do: steps |> List.last() |> step(folder, home)

  defp copy_checkout(target) do
    File.mkdir_p!(target)
    without = for name <- ~w(.git .cache _build doc tmp), do: " --exclude=./#{name}"
    {_, 0} = System.cmd("sh", ["-c", "tar -C #{@root}#{without} -c . | tar -x -C '#{target}'"])
  end

  # Writing a file is the reader's time, not the machine's.
  defp step({:file, path, text}, folder, _home) do
    File.write!(Path.join(folder, path), text)
    0
  end

  defp step({:sh, where, command}, folder, home), do: shell(command, where, folder, home, nil)

  defp step({:result, where, command}, folder, home),
    do: shell(command, where, folder, home, "{:ok, 4.0}")

  defp shell(command, where, folder, home, result) do
    start = System.monotonic_time(:microsecond)

    port =
      Port.open({:spawn_executable, System.find_executable("env")}, [
        :binary,
        :exit_status,
        :stderr_to_stdout,
        cd: Path.join(folder, where),
        args: ["-i" | variables(home)] ++ ["sh", "-c", command]
      ])

    case await(port, "", result, nil) do
      {0, _said, stop} when is_integer(stop) -> stop - start
      {_status, said, _stop} -> stop("#{command}\n#{said}")
    end
  end

  defp variables(home) do
    kept = for name <- @kept, value = System.get_env(name), do: "#{name}=#{value}"
    ["HOME=#{home}", "XDG_CACHE_HOME=#{home}/.cache" | kept]
  end

  # When the result was there; without one, when the command had ended.
  defp await(port, said, result, seen) do
    receive do
      {^port, {:data, data}} ->
        said = said <> data
        seen = seen || (result && said =~ result && System.monotonic_time(:microsecond)) || nil
        await(port, said, result, seen)

      {^port, {:exit_status, status}} ->
        {status, said, if(result, do: seen, else: System.monotonic_time(:microsecond))}
    end
  end

  defp show(microseconds), do: "#{Float.round(microseconds / 1_000_000, 1)} s"
  defp note(text), do: IO.puts(:stderr, text)

  defp stop(reason) do
    note("error: #{String.trim(reason)}")
    System.halt(1)
  end
end

Bench.FirstResult.main(System.argv())
