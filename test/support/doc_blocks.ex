defmodule ErlangPython.DocBlocks do
  @moduledoc false
  # Runs the code blocks of a Markdown page, in order, as its reader would:
  #
  #   * `elixir`, `erlang`: evaluated, with the variables of the blocks before. `#=> term` (also over several
  #     lines) is the value of what stands above it, `...` in it stands for any text, and
  #     `#=> ** (Error) text` is what it raises. Lines after `iex>` and `1>` prompts are values too.
  #   * `elixir` that begins with `# mix.exs` or `# config/...`: a dependency; settings, whose pool options are
  #     checked. So are those of `erlang` that begins with `% sys.config`.
  #   * `elixir` with `use ExUnit.Case`: a file of tests, which must pass.
  #   * `erlang` that begins with `-module(name)`: compiled and loaded.
  #   * `python`: executed by the pool `:single`; one that begins with `# folder/name.py` is a file, put there.
  #   * `sh`: `make` and its targets, or `mix` and a task, which must exist; `ERL_LIBS=... erl`, which must find the library.
  #   * `text`: a drawing; after `<!-- printed -->` what the block before it has printed.
  #
  # A block after `<!-- not run: reason -->` is parsed only. Anything else fails, so no block is passed over
  # by mistake. Files and relative paths belong to the folder in which `run/2` is called.

  alias ErlangPython.DocBlocks.{ElixirCode, ErlangCode, Values}
  alias ErlangPython.Pool

  @type block :: %{
          language: String.t(),
          code: String.t(),
          line: pos_integer(),
          marker: nil | :printed | {:not_run, String.t()}
        }

  @type outcome :: :ran | :checked | :text | {:not_run, String.t()}

  @doc "Runs a page. Raises at the first block that does not do what it says."
  @spec run(String.t(), makefile :: String.t()) :: [{pos_integer(), outcome()}]
  def run(markdown, makefile) do
    state = %{elixir: ElixirCode.new(), erlang: [], printed: "", makefile: makefile}

    {outcomes, _state} = markdown |> parse() |> Enum.map_reduce(state, &run_block/2)
    outcomes
  end

  defp run_block(block, state) do
    {outcome, state} = block(block, state)
    {{block.line, outcome}, state}
  rescue
    error ->
      text = "the #{block.language} block in line #{block.line}: #{Exception.message(error)}"
      reraise ExUnit.AssertionError, [message: text], __STACKTRACE__
  end

  @spec parse(String.t()) :: [block()]
  def parse(markdown) do
    markdown |> String.split("\n") |> Enum.with_index(1) |> parse(nil, [])
  end

  defp parse([], _marker, blocks), do: Enum.reverse(blocks)

  defp parse([{"```" <> language, line} | rest], marker, blocks) do
    {code, rest} = Enum.split_while(rest, fn {text, _line} -> text != "```" end)
    if rest == [], do: raise("the block in line #{line} has no end")
    code = Enum.map_join(code, "\n", fn {text, _line} -> text end)
    block = %{language: language, code: code, line: line, marker: marker}
    parse(tl(rest), nil, [block | blocks])
  end

  defp parse([{"", _line} | rest], marker, blocks), do: parse(rest, marker, blocks)
  defp parse([{text, _line} | rest], _marker, blocks), do: parse(rest, marker(text), blocks)

  defp marker("<!-- printed -->"), do: :printed

  defp marker(text) do
    case Regex.run(~r/^<!-- not run: (\S.*) -->$/, text) do
      [_all, reason] -> {:not_run, reason}
      nil -> nil
    end
  end

  defp block(%{marker: {:not_run, reason}} = block, state) do
    syntax!(block.language, block.code)
    {{:not_run, reason}, state}
  end

  defp block(%{language: "elixir", code: "# mix.exs\n" <> code}, state) do
    {[{:erlang_python, _where} | _], []} = Code.eval_string("[#{code}]")
    {:checked, state}
  end

  defp block(%{language: "elixir", code: "# config/" <> _ = code}, state) do
    settings!(Config.Reader.eval!("config.exs", code))
    {:checked, state}
  end

  defp block(%{language: "elixir", code: code}, state) do
    if code =~ ~r/^  use ExUnit\.Case/m, do: test(code, state), else: evaluate(code, state)
  end

  defp block(%{language: "erlang", code: "% sys.config" <> _ = code}, state) do
    code |> ErlangCode.value() |> settings!()
    {:checked, state}
  end

  defp block(%{language: "erlang", code: "-module(" <> _ = code}, state) do
    ErlangCode.load!(code)
    {:ran, state}
  end

  defp block(%{language: "erlang", code: code}, state),
    do: {:ran, %{state | erlang: ErlangCode.run(code, state.erlang)}}

  defp block(%{language: "python", code: code}, state) do
    syntax!("python", code)

    case Regex.run(~r/\A# (\S+\.py)\n/, code) do
      [_line, path] ->
        File.mkdir_p!(Path.dirname(path))
        File.write!(path, code)

      nil ->
        ErlangPython.exec!(code, %{}, pool: :single)
    end

    {:ran, state}
  end

  defp block(%{language: "sh", code: code}, state) do
    for line <- String.split(code, "\n", trim: true), do: command!(line, state.makefile)
    {:checked, state}
  end

  defp block(%{language: "text", marker: :printed, code: code}, state) do
    Values.check_text!(code, String.trim(state.printed), "what was printed")
    {:ran, state}
  end

  defp block(%{language: "text"}, state), do: {:text, state}

  defp block(%{language: ""}, _state), do: raise("it names no language")
  defp block(%{language: language}, _state), do: raise("nothing runs #{language}")

  defp evaluate(code, state) do
    {printed, elixir} = ElixirCode.run(code, state.elixir)
    {:ran, %{state | elixir: elixir, printed: printed}}
  end

  # In a BEAM of its own: this one runs tests already.
  defp test(code, state) do
    File.write!("page_test.exs", code)
    start = "{:ok, _} = Application.ensure_all_started(:erlang_python); ExUnit.start()"

    shell!([
      "elixir",
      "-pa",
      Path.join(:code.lib_dir(:erlang_python), "ebin"),
      "-e",
      start,
      "-r",
      "page_test.exs"
    ])

    {:ran, state}
  end

  defp shell!([command | arguments]) do
    {output, status} = System.cmd(command, arguments, stderr_to_stdout: true)
    if status != 0, do: raise("#{command} ended with #{status}:\n#{output}")
  end

  # As it is compiled for these tests.
  defp command!("ERL_LIBS=" <> _ = line, _makefile) do
    line = String.replace(line, "_build/prod/lib", Path.dirname(:code.lib_dir(:erlang_python)))
    check = "{ok, _} = application:ensure_all_started(erlang_python), halt()."
    shell!(["sh", "-c", "#{line} -noinput -eval '#{check}'"])
  end

  defp command!(line, makefile) when is_binary(line) do
    [command | _comment] = String.split(line, "#")
    # Without settings, ARGS="a b".
    bare = String.replace(command, ~r/(^| )[A-Z_]+=("[^"]*"|\S+)/, "")
    bare |> String.split() |> command!(makefile)
  end

  defp command!(["mix", task], _makefile), do: Mix.Task.get!(task)

  defp command!(["make" | targets], makefile) do
    for target <- targets,
        not (makefile =~ ~r/^#{Regex.escape(target)}:/m),
        do: raise("there is no target #{target} in the Makefile")
  end

  defp settings!(settings) do
    [] = Keyword.keys(settings[:erlang_python]) -- ErlangPython.Settings.known()
    for pool <- settings[:erlang_python][:pools] || [], do: Pool.Options.new!(pool)
  end

  defp syntax!("elixir", code), do: Code.string_to_quoted!(code)

  defp syntax!("python", code),
    do: ErlangPython.exec!("compile(code, 'page', 'exec')", %{code: code}, pool: :single)

  defp syntax!("erlang", code), do: ErlangCode.syntax!(code)
  defp syntax!(_other, _code), do: :ok
end
