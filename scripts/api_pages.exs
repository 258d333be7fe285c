# Writes one Markdown page per documented module, from the documentation chunks of the
# compiled code, and lets the guides link to them. ExDoc would be a dependency; this package has none.

defmodule ApiPages do
  @application :erlang_python

  def write(folder) do
    File.mkdir_p!(folder)
    modules = documented()

    for {module, doc, entries} <- modules do
      File.write!(Path.join(folder, file(module)), page(module, doc, entries, modules))
    end

    File.write!(Path.join(folder, "index.md"), index(modules))
  end

  @doc "Functions and modules that a guide names become links. Bare ones are those of `ErlangPython`."
  def link(guides, to_api) do
    modules = documented()
    for guide <- guides, do: File.write!(guide, guide |> File.read!() |> link(to_api, modules))
  end

  defp link(text, to_api, modules) do
    text
    |> String.split("```")
    |> Enum.with_index()
    |> Enum.map_join("```", fn
      {prose, index} when rem(index, 2) == 0 ->
        prose
        |> autolink(ErlangPython, modules)
        |> String.replace(~r/\]\((?=(?:ErlangPython|py)[\w.]*\.md)/, "](" <> to_api)

      {code, _index} ->
        code
    end)
  end

  defp documented do
    {:ok, modules} = :application.get_key(@application, :modules)

    for module <- Enum.sort(modules),
        {:docs_v1, _, _, "text/markdown", %{"en" => doc}, _, entries} <- [Code.fetch_docs(module)] do
      {module, doc, Enum.filter(entries, &documented_entry?/1)}
    end
  end

  defp documented_entry?({{:type, _, _}, _, _, doc, _}), do: doc != :hidden
  defp documented_entry?({_, _, _, %{}, _}), do: true
  defp documented_entry?(_entry), do: false

  defp index(modules) do
    lines = for {module, doc, _} <- modules, do: "| #{link(module)} | #{first_sentence(doc)} |\n"
    ["# API\n\n| module | |\n|---|---|\n", lines]
  end

  defp first_sentence(doc), do: doc |> String.split("\n\n") |> hd() |> String.replace("\n", " ")

  defp page(module, doc, entries, modules) do
    linked = &(&1 |> fence(module) |> to_guides() |> autolink(module, modules))

    [
      "# #{inspect(module)}\n\n",
      linked.(doc),
      section("Types", module, entries, [:type], linked),
      section("Callbacks", module, entries, [:callback, :macrocallback], linked),
      section("Functions", module, entries, [:function, :macro], linked)
    ]
  end

  defp section(title, module, entries, kinds, linked) do
    case Enum.filter(entries, fn {{kind, _, _}, _, _, _, _} -> kind in kinds end) do
      [] -> []
      found -> ["\n\n## #{title}\n", Enum.map(found, &entry(module, &1, linked))]
    end
  end

  defp entry(module, {{kind, name, arity}, _, signature, doc, metadata}, linked) do
    title =
      if kind in [:function, :macro], do: Enum.join(signature, " "), else: "#{name}/#{arity}"

    since = if since = metadata[:since], do: "\n_Since #{since}._\n", else: ""
    # Its own headings stand below its title.
    text =
      if is_map(doc), do: doc["en"] |> String.replace(~r/^## /m, "#### ") |> linked.(), else: ""

    """

    ### `#{title}` {: ##{anchor(kind, name, arity)} }
    #{since}
    #{code(module, kind, name, arity)}
    #{text}
    """
  end

  defp anchor(kind, name, arity) when kind in [:function, :macro], do: "#{slug(name)}-#{arity}"
  defp anchor(:type, name, arity), do: "t-#{slug(name)}-#{arity}"
  defp anchor(_callback, name, arity), do: "c-#{slug(name)}-#{arity}"

  defp slug(name) do
    name
    |> to_string()
    |> String.replace("!", "-bang")
    |> String.replace("?", "-p")
    |> String.replace(~r/[^\w-]/, "-")
  end

  # The specification or type, as source.
  defp code(module, kind, name, arity) do
    case specifications(module, kind, name, arity) do
      [] -> ""
      lines -> "```elixir\n#{Enum.join(lines, "\n")}\n```\n"
    end
  end

  defp specifications(module, :type, name, arity) do
    {:ok, types} = Code.Typespec.fetch_types(module)

    for {kind, {^name, _, arguments} = type} <- types, length(arguments) == arity do
      quoted = Code.Typespec.type_to_quoted(type)
      # What an opaque type is made of is nobody else's business.
      shown = if kind == :opaque, do: quoted |> elem(2) |> hd(), else: quoted
      "@#{kind} #{Macro.to_string(shown)}"
    end
  end

  defp specifications(module, kind, name, arity) do
    {label, fetched} =
      if kind in [:callback, :macrocallback],
        do: {kind, Code.Typespec.fetch_callbacks(module)},
        else: {:spec, Code.Typespec.fetch_specs(module)}

    stored =
      if kind in [:macro, :macrocallback], do: {:"MACRO-#{name}", arity + 1}, else: {name, arity}

    with {:ok, all} <- fetched, {^stored, specs} <- List.keyfind(all, stored, 0) do
      for spec <- specs do
        "@#{label} #{name |> Code.Typespec.spec_to_quoted(spec) |> Macro.to_string()}"
      end
    else
      _none -> []
    end
  end

  # Code in the margin says no language, so it would have no colours. A paragraph that begins a list item is
  # none; one in the margin that follows another goes on with it.
  defp fence(text, module) do
    language = if module == :py, do: "erlang", else: "elixir"

    Regex.replace(~r/(?<=\n\n|\A)(?:    .*(?:\n|\z)|\n(?=    ))+/, text, fn code ->
      code = code |> String.replace(~r/^    /m, "") |> String.trim_trailing()
      "```#{language}\n#{code}\n```\n"
    end)
  end

  # Module docs name the guides as their neighbours, as ExDoc has them.
  defp to_guides(text), do: String.replace(text, ~r/\]\((?=[\w-]+\.md)/, "](../docs/")

  # `Module`, `Module.function/1`, `function/1`, `t:type/0` and `c:callback/0` become links where
  # they name something that has a page.
  defp autolink(text, module, modules) do
    Regex.replace(
      ~r/(?<![`\[])`((?:[tc]:)?)((?:[A-Z:][\w.:]*?\.)?)([a-z_]\w*[!?]?)\/(\d+)`(?!`)/,
      text,
      fn
        whole, prefix, owner, name, arity ->
          owner = if owner == "", do: module, else: to_module(String.trim_trailing(owner, "."))
          kind = %{"" => :function, "t:" => :type, "c:" => :callback}[prefix]
          anchor = anchor(kind, name, arity)

          if known?(modules, owner, anchor),
            do: "[#{String.replace(whole, prefix, "")}](#{file(owner)}##{anchor})",
            else: whole
      end
    )
    |> then(
      &Regex.replace(~r/(?<![`\[])`([A-Z][\w.]*|:[a-z_]\w*)`(?!`)/, &1, fn whole, name ->
        if to_module(name) in Enum.map(modules, fn {known, _, _} -> known end) and
             to_module(name) != module,
           do: link(to_module(name)),
           else: whole
      end)
    )
  end

  defp known?(modules, owner, anchor) do
    with {_, _, entries} <- List.keyfind(modules, owner, 0, false) do
      Enum.any?(entries, fn {{kind, name, arity}, _, _, _, _} ->
        anchor(kind, name, arity) == anchor
      end)
    end
  end

  # Names come from this package's own documentation.
  defp to_module(":" <> name), do: String.to_atom(name)
  defp to_module(name), do: Module.concat([name])

  defp link(module), do: "[`#{inspect(module)}`](#{file(module)})"
  defp file(module), do: "#{module |> inspect() |> String.trim_leading(":")}.md"
end

[source] = System.argv()
ApiPages.write(Path.join(source, "api"))
ApiPages.link(Path.wildcard(Path.join(source, "*.md")), "api/")
ApiPages.link(Path.wildcard(Path.join(source, "docs/*.md")), "../api/")
