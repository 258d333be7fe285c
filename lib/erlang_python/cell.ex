defmodule ErlangPython.Cell do
  @moduledoc false
  # One run of a cell: its variables go in, it runs, what it shows is shown, its variables come out.
  #
  # The request is made by a task, so that the process that runs the cell is free to show outputs meanwhile: what is
  # rendered in Livebook belongs to the process that made it, and goes with it.

  alias ErlangPython.Cell.{Object, Session}
  alias ErlangPython.{Display, Error, Iterator, Request}
  alias ErlangPython.Pool.Configured
  alias ErlangPython.Request.Options

  @type pairs :: [{name :: String.t(), value :: term()}]
  @type t :: %{
          code: String.t(),
          file: String.t(),
          line: pos_integer(),
          read: pairs(),
          bound: pairs(),
          assigned: [String.t()]
        }

  @options [:pool, :context, :timeout, :progress]
  @module "erlang_python_worker._cells"
  # Room in a message for what is no value.
  @reserve 32_768
  @gone [:worker_exit, :context_lost, :context_closed, :no_pool]

  @doc "The cell's value, and those of its variables in their order."
  @spec run!(t(), keyword()) :: {term(), [term()]}
  def run!(cell, opts) do
    options = Options.new!(Keyword.put_new(opts, :timeout, :infinity), @options)

    with {:ok, session} <- Session.fetch(opts),
         {:ok, handle} <- Configured.fetch(session.context.pool),
         options = %{options | context: session.context, pool: session.context.pool},
         limit = handle.options.max_message_size - @reserve,
         {:ok, answer} <- run(cell, session, Session.known(session), limit, options) do
      finish(answer, cell, session)
    else
      {:error, error} -> raise error
    end
  end

  @doc "For `display: true`."
  @spec display(String.t(), %{String.t() => term()} | nil, Options.t()) ::
          {:ok, Display.t()} | {:error, Error.t()}
  def display(code, bindings, options) do
    arguments = %{
      "code" => code,
      "bindings" => bindings,
      "file" => options.file,
      "line" => options.line
    }

    with {:ok, data} <- request("display", arguments, options), do: {:ok, %Display{data: data}}
  end

  defp run(cell, session, known, limit, options) do
    arguments =
      Map.merge(variables(cell.read, known, session), %{
        "code" => cell.code,
        "file" => cell.file,
        "line" => cell.line,
        "assigns" => cell.assigned,
        "limit" => limit
      })

    case request("run", arguments, options) do
      {:ok, ["missing", names]} -> run(cell, session, Map.drop(known, names), limit, options)
      {:ok, ["done" | answer]} -> {:ok, answer}
      {:error, error} -> {:error, failed(error, session)}
    end
  end

  defp variables(read, known, session) do
    groups =
      Enum.group_by(
        read,
        fn {name, value} -> way(name, value, known[name], session) end,
        fn
          {name, %Object{number: number}} -> {name, number}
          variable -> variable
        end
      )

    kept = for {name, _value} <- groups[:kept] || [], do: {name, elem(known[name], 1)}

    %{
      "values" => Map.new(groups[:values] || []),
      "kept" => Map.new(kept),
      "objects" => Map.new(groups[:objects] || [])
    }
  end

  # What both sides know stays where it is.
  defp way(_name, %Object{context: context}, _known, %{context: context}), do: :objects

  defp way(name, %Object{}, _known, _session) do
    raise ArgumentError,
          "#{name} stands for a Python object of another pool or process, or of a worker that has ended: " <>
            "run the cell that made it again, where this one runs"
  end

  defp way(_name, _value, nil, _session), do: :values

  defp way(_name, value, {digest, _number}, _session),
    do: if(digest(value) == digest, do: :kept, else: :values)

  defp digest(value), do: value |> :erlang.term_to_binary() |> :erlang.md5()

  defp finish([value, variables, numbers], cell, session) do
    variables = Map.new(variables, fn {name, form} -> {name, variable(form, session)} end)
    inward = Map.new(cell.read)

    known =
      Map.new(numbers, fn {name, number} ->
        {name, {digest(Map.get_lazy(variables, name, fn -> inward[name] end)), number}}
      end)

    known = session |> Session.known() |> Map.drop(Map.keys(variables)) |> Map.merge(known)
    Session.put_known(session, known)
    {value(value), for({name, before} <- cell.bound, do: Map.get(variables, name, before))}
  end

  defp value(["value", value]), do: value
  defp value(["display", data]), do: Display.render(%Display{data: data})

  defp variable(["value", value], _session), do: value

  defp variable(["object", number, type, text], session),
    do: %Object{number: number, context: session.context, type: type, text: text}

  defp request(function, arguments, options) do
    cell = self()
    ref = make_ref()
    arguments = Map.put(arguments, "show", &show(cell, ref, &1))

    task =
      Task.async(fn ->
        # An iterator that goes in is for later cells, too.
        Iterator.put_owner(cell)
        Request.run({:call, @module, function, []}, %{options | kwargs: arguments})
      end)

    try do
      await(task, ref)
    after
      # The monitor of the task is still there; the task itself only if showing has failed.
      Task.shutdown(task, :brutal_kill)
      flush_exit(task.pid)
    end
  end

  defp flush_exit(pid) do
    Process.unlink(pid)

    receive do
      {:EXIT, ^pid, _reason} -> :ok
    after
      0 -> :ok
    end
  end

  defp await(%{ref: task_ref} = task, ref) do
    receive do
      {^ref, from, data} ->
        Display.show(%Display{data: data})
        send(elem(from, 0), {elem(from, 1), :shown})
        await(task, ref)

      {^task_ref, result} ->
        result

      {:DOWN, ^task_ref, :process, _pid, reason} ->
        exit(reason)
    end
  end

  # Called by Python, in a process of its own. Python goes on when the output is there, which keeps the order.
  defp show(cell, ref, data) do
    monitor = Process.monitor(cell)
    send(cell, {ref, {self(), monitor}, data})

    receive do
      {^monitor, :shown} -> Process.demonitor(monitor, [:flush])
      {:DOWN, ^monitor, :process, _cell, reason} -> exit(reason)
    end

    nil
  end

  # What a path in an error begins with.
  defp failed(%{kind: :encode} = error, _session),
    do: %{
      error
      | message: String.replace_prefix(error.message, ~s(kwargs["values"]), "variables")
    }

  defp failed(%{kind: kind} = error, %{own?: true} = session) when kind in @gone do
    Session.forget(session)

    %{
      error
      | message:
          error.message <>
            "; what earlier cells have defined in Python is gone with it: run them again"
    }
  end

  defp failed(error, _session), do: error
end
