defmodule ErlangPython.Cell.Expansion do
  @moduledoc false
  # From a cell's text to Elixir code that runs it and binds its variables. Which ones is asked of Python, while the
  # cell is compiled.

  alias ErlangPython.Cell.Session
  alias ErlangPython.Context.Binding
  alias ErlangPython.{Error, Request}
  alias ErlangPython.Pool.Configured
  alias ErlangPython.Request.Options

  @timeout 30_000

  @doc "The code and the line of a literal, a sigil, or what the caller wrote in its place."
  @spec literal!(Macro.t(), Macro.Env.t()) :: {String.t(), pos_integer()}
  def literal!({:<<>>, meta, [code]}, env) when is_binary(code) do
    line = meta[:line] || env.line
    # The text of a heredoc begins on the next line.
    {code, if(Keyword.has_key?(meta, :indentation), do: line + 1, else: line)}
  end

  def literal!({sigil, _meta, [{:<<>>, _, [code]} = text, []]}, env)
      when sigil in [:sigil_S, :sigil_s] and is_binary(code),
      do: literal!(text, env)

  # Nothing says whether it was a heredoc, but those end with a line.
  def literal!(code, env) when is_binary(code),
    do: {code, if(String.ends_with?(code, "\n"), do: env.line + 1, else: env.line)}

  def literal!(_other, env) do
    fail!(
      env,
      env.line,
      "Python code has to be a literal without interpolation: its variables are those of " <>
        "Elixir, by their names (for code that is made at run time there is ErlangPython.run/3)"
    )
  end

  @spec expand({String.t(), pos_integer()}, Macro.t(), Macro.Env.t()) :: Macro.t()
  def expand({code, line}, opts, env) do
    {:ok, _started} = Application.ensure_all_started(:erlang_python)
    file = Path.relative_to_cwd(env.file)
    {read, assigned, certain} = names!(code, file, line, opts, env)
    scope = for {name, nil} <- Macro.Env.vars(env), into: %{}, do: {Atom.to_string(name), name}
    # What a cell may leave as it is has to be right in Python too.
    read =
      for name <- Enum.uniq(read ++ (assigned -- certain)), scope[name], variable?(name), do: name

    assigned = Enum.filter(assigned, &variable?/1)
    bound = Enum.uniq(assigned ++ read)

    cell =
      quote do
        %{
          code: unquote(code),
          file: unquote(file),
          line: unquote(line),
          read: unquote(pairs(read, scope)),
          bound: unquote(pairs(bound, scope)),
          assigned: unquote(assigned)
        }
      end

    quote do
      {value, unquote(Enum.map(bound, &assignable/1))} =
        ErlangPython.Cell.run!(unquote(cell), unquote(opts))

      value
    end
  end

  # A variable that the cell does not assign after all keeps its value.
  defp pairs(names, scope),
    do: for(name <- names, do: {name, if(known = scope[name], do: {known, [], nil})})

  # Nobody is told that a variable of Python's is not used in Elixir.
  defp assignable(name), do: {String.to_atom(name), [generated: true], nil}

  # `X` and `end` are names in Python only, and `_x` is nobody else's business.
  defp variable?(name) do
    not String.starts_with?(name, "_") and
      match?({:ok, {variable, _, nil}} when is_atom(variable), Code.string_to_quoted(name))
  end

  defp names!(code, file, line, opts, env) do
    case analyse(code, file, line, if(Keyword.keyword?(opts), do: opts, else: [])) do
      {:ok, ["ok", read, assigned, certain]} ->
        {read, assigned, certain}

      {:ok, ["error", type, message, at, text, column, hint]} ->
        hint = if hint, do: "\n" <> hint, else: ""
        fail!(env, at || line, "#{type}: #{message}" <> pointed(text, column) <> hint)

      {:error, %Error{} = error} ->
        fail!(env, line, """
        the variables of this Python code can't be found out, since no Python answers \
        (a pool has to run before the cell that uses it is compiled): \
        #{Exception.message(error)}\
        """)
    end
  end

  # In the namespace in which it will run, if that is known and there by now: its worker is free for this process, when all
  # others may be set aside.
  defp analyse(code, file, line, opts) do
    with {:ok, %{context: context}} <- opts |> target() |> Session.fetch() do
      message = {:call, "erlang_python_worker._cell_names", "analyse", [code, file, line]}
      options = Options.new!([context: context, timeout: @timeout], [:context, :timeout])

      # The cell itself will say so when it runs.
      with {:error, %Error{kind: kind}} when kind in [:context_lost, :context_closed] <-
             Request.run(message, options) do
        Request.run(message, %{options | context: nil})
      end
    end
  end

  defp target(opts) do
    pool = if is_atom(opts[:pool]), do: opts[:pool]

    cond do
      pool && match?({:ok, _handle}, Configured.fetch(pool)) -> [pool: pool]
      Binding.current() -> []
      true -> [pool: Configured.default()]
    end
  end

  defp pointed(nil, _column), do: ""

  defp pointed(text, column) do
    text = String.trim_trailing(text)
    bare = String.trim_leading(text)
    at = (column || 1) - 1 - (String.length(text) - String.length(bare))
    "\n    #{bare}\n    #{String.duplicate(" ", max(at, 0))}^"
  end

  @spec fail!(Macro.Env.t(), pos_integer(), String.t()) :: no_return()
  defp fail!(env, line, description),
    do: raise(CompileError, file: env.file, line: line, description: description)
end
